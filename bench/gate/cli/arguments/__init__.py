"""The arguments of `bertbench gate` and `bertbench baseline`; loads nothing heavy."""
