"""A capacity measurement as text, JSON and plots."""
