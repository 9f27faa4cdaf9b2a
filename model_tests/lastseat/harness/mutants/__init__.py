"""Implementations that must be convicted, as real projects have shipped them; and right ones.

Each is written as somebody would have written it, and wrong in one way only. They are run by the
same commands as any other implementation; nothing in the harness knows them by name.
"""
