"""The arguments of `bertbench capacity`; loads nothing heavy."""
