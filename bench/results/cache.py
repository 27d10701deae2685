"""Where this machine keeps what can be made again: the demo model's export, the load generator's calibration."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """The folder, by the XDG base directory specification; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bertbench"
