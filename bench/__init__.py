"""Load-testing and latency benchmark suite for a BERT language model behind TensorFlow Serving."""

__version__ = "0.2.0"
