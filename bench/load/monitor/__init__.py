"""Samples of the processes and the server, once a second."""
