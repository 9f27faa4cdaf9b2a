"""The machinery that holds a real implementation on a real server against the model."""
