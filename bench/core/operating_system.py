"""Which operating systems the suite runs on, and whether in a container."""

import os
import platform
from pathlib import Path
from typing import Final

from bench.core.errors import UsageError

# psutil reads CPU time and memory of processes from it.
_PROC: Final = "/proc/self/stat"


def require_supported_system() -> None:
    """Refuses an operating system on which no command works.

    Raises:
        UsageError: it is Windows, or a Linux without /proc; the message says what to do.
    """
    system = platform.system()
    if system == "Windows":
        raise UsageError("Windows is not supported; use the Windows Subsystem for Linux, or a container")
    if system == "Linux" and not os.path.exists(_PROC):
        raise UsageError("/proc is not mounted, which CPU time is read from; run: mount -t proc proc /proc")


def container_kind() -> str | None:
    """What this process runs in: `docker`, `podman`, `kubernetes`, or None."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if Path("/.dockerenv").exists():
        return "docker"
    return "podman" if Path("/run/.containerenv").exists() else None
