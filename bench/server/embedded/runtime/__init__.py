"""TensorFlow's runtime through its C API: sessions, tensors and the threads of runs."""
