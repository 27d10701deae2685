"""Capacity: how much one server holds within an SLO, and how many servers a rate needs."""
