"""Runs in a separate process, one after the other: `client` requests them, `worker` does them."""
