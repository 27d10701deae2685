"""Runs one after the other in a process of its own: `client` asks, `worker` runs, `protocol` is what they say."""
