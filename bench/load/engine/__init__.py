"""The engine: from a due time to a checked and recorded answer."""
