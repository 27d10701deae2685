"""Checkpoints: Google's folders, the Estimator's, Hugging Face's, and presets with seeded random weights."""
