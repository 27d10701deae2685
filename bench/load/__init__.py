"""The load generator: Locust users over one dispatcher. Never imports the TensorFlow runtime."""
