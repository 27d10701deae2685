"""`bertbench capacity` and its actions."""
