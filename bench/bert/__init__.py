"""BERT as a language model. Modules whose docstring starts with "TF:" import TensorFlow, the others do not."""
