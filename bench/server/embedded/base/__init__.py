"""Status codes, metrics, the log and integer limits, which every part of the embedded server uses."""
