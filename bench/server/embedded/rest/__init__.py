"""The REST endpoint: URLs and JSON."""
