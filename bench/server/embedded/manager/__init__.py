"""Which models and versions are served, and the requests that warm them up."""
