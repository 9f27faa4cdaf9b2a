"""The reference model of contested booking: pure, and meant for reading.

Read downwards: vocabulary, resource, history, legality, visibility.
"""
