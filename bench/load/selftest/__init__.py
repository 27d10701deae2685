"""What the load generator itself can do, measured against a server that does nothing."""
