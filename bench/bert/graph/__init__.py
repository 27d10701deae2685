"""The TensorFlow graph: encoder, heads, signatures, the Estimator, and the scorers in this process."""
