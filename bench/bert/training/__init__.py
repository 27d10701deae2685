"""Masked-LM training on the Estimator."""
