"""Programs of Debian that tests need, installed or unpacked; a test is skipped, with the reason, without them."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LOCK_WAIT = "DPkg::Lock::Timeout=300"


@contextmanager
def one_process(name: str) -> Iterator[None]:
    """Lets one process of this machine in at a time."""
    path = Path(tempfile.gettempdir()) / f"bertbench-test-{os.getuid()}-{name}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def installed(name: str, package: str = "", others: tuple[str, ...] = ()) -> str:
    """The path of a program; Debian's package is installed where that is possible.

    Args:
        name: the program.
        package: the package that has it, if its name is another.
        others: other names of the program, on other systems.
    """
    if found := _found(name, *others):
        return found
    package = package or name
    with one_process("apt"):
        if not (found := _found(name, *others)) and os.geteuid() == 0 and shutil.which("apt-get"):
            words = ("install", "-y", "--no-install-recommends", package)
            for command in (("update",), words):
                full = ["apt-get", "-q", "-o", _LOCK_WAIT, *command]
                environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
                subprocess.run(full, capture_output=True, check=False, timeout=500, env=environment)
            found = _found(name, *others)
    if not found:
        pytest.skip(f"{name} is not here, and apt-get cannot install Debian's package {package}")
    return found


def unpacked(package: str, folder: Path) -> Path:
    """The folder of one of Debian's packages, unpacked without installing it: no service of it is started."""
    if not shutil.which("apt-get"):
        pytest.skip(f"no apt-get here to fetch {package} with")
    folder.mkdir(exist_ok=True)
    command = f"apt-get -q update && apt-get -q download {package} && dpkg-deb -x {package}_*.deb ."
    with one_process("apt"):
        done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{package} cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
    return folder


def _found(*names: str) -> str:
    return next((path for name in names if (path := shutil.which(name))), "")
