"""Status codes, metrics and integer limits, which every part of the embedded server uses."""
