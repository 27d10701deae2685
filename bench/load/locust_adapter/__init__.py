"""Locust's master, workers and options on the engine."""
