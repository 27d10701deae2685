"""Finished types in, a stream or a picture out. Computes nothing."""

import logging

# Where the home folder cannot be written, matplotlib keeps its cache in a temporary one and says so at length.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
