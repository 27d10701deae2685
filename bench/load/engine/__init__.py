"""From a due time to a checked and recorded answer."""
