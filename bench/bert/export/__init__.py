"""From a checkpoint to a SavedModel with golden answers and warm-up requests."""
