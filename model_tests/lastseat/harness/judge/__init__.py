"""Holds what was observed against the model: in step, on the recorded history, and by fresh SQL."""
