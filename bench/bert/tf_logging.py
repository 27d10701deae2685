"""Limits TensorFlow's log to errors. Imports no TensorFlow: call it before the first import that does."""

import logging
import os
import warnings


def log_errors_only() -> None:
    """Limits TensorFlow's log to errors from here on; TF_CPP_MIN_LOG_LEVEL overrides it.

    The variable reaches child processes too.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="tensorflow")
