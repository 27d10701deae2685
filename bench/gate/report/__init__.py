"""A verdict and the history of metrics as text, files and plots."""
