"""From measured runs to the fitted model, and its validation."""
