"""Limits TensorFlow's log. Imports no TensorFlow: call it before the first import that does."""

import logging
import os
import warnings


def limit_tensorflow_log() -> None:
    """Limits TensorFlow's log to errors from here on, unless the process logs from `info` or `debug` on.

    TF_CPP_MIN_LOG_LEVEL overrides it for the C++ part. The variable reaches child processes too.
    """
    level = logging.getLogger().level
    wanted = level < logging.WARNING
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if wanted else "3")
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel(level if wanted else logging.ERROR)
    if not wanted:
        warnings.filterwarnings("ignore", module="tensorflow")
