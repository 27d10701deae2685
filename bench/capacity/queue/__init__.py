"""Queueing models of a server, simulated for many sets of parameters at once."""
