"""Command-line flags and configuration files."""
