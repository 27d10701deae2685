"""Reports: text, pages and plots of finished results. Computes nothing."""

import logging

# Matplotlib warns at length when it has to put its cache into a temporary folder.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
