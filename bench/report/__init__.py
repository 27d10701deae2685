"""Finished types in, a stream or a picture out. Computes nothing."""
