"""`bertbench gate` and `bertbench baseline`."""
