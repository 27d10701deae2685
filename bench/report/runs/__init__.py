"""Reports of runs as files: one run, and several side by side."""
