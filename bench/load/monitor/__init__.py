"""What is sampled each second beside the requests."""
