"""Figures of a run while it is in progress, and what watches them."""
