"""What can be asked of a model: predict, classify and regress, metadata."""
