"""Loaded versions of a model, their signatures, and batching."""
