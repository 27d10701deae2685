"""From a run spec to a run that is ready to start, and from its records to its outcome."""
