"""Implementations under test: child processes that speak JSON lines, in any language."""
