"""Keeps TensorFlow's log off the terminal. Imports no TensorFlow: call it before the first import that does."""

import logging
import os
import warnings


def quieten_tensorflow() -> None:
    """Only errors of TensorFlow are shown from here on; an environment that asks for more keeps it.

    The variable reaches child processes too.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="tensorflow")
