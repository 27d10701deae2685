"""Canonical errors and metrics, which every part of the embedded server uses."""
