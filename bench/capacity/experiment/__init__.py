"""Which runs a sweep makes, in which order, and where it keeps them."""
