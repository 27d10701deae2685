"""Pure decisions over stored runs."""
