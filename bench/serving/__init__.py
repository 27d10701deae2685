"""The client side of TensorFlow Serving. Nothing here imports the TensorFlow runtime."""
