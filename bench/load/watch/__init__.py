"""Looks at a run in progress, computed in a process of its own, so that no request waits for the arithmetic."""
