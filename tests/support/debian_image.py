"""Images for tests on a Docker Engine without a registry: a Debian release with its Python, made by debootstrap.

The first use downloads about 60 MB of Debian's packages and takes a minute; the Engine keeps the image, which later
uses find (`docker rmi bertbench-test/debian:RELEASE` makes the next one build it again).
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
from docker.errors import ImageNotFound

from tests.support.debian import one_process, unpacked

REPOSITORY: Final = "bertbench-test/debian"
LABEL: Final = "bertbench-test.base"
# What Debian's slim images leave out too.
REMOVED: Final = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
SECONDS: Final = 500


def debian_image(engine: Any, release: str) -> str:
    """The name of an image of a Debian release with python3, its venv module and certificates.

    One of the test processes makes it; the test is skipped, with the reason, where it cannot be made.
    """
    name = f"{REPOSITORY}:{release}"
    with one_process(f"debian-{release}"):
        try:
            engine.images.get(name)
        except ImageNotFound:
            # Not in pytest's folders, which are kept: the tree has 10,000 files.
            with tempfile.TemporaryDirectory(prefix="bertbench-debootstrap-") as folder:
                _import(engine, release, Path(folder))
    return name


def _import(engine: Any, release: str, folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    package = unpacked("debootstrap", folder / "package")
    system, tar = folder / "system", folder / "system.tar"
    words = ["--variant=minbase", "--include=python3,python3-venv,ca-certificates", release, str(system)]
    made = subprocess.run(
        [str(package / "usr" / "sbin" / "debootstrap"), *words],
        env={**os.environ, "DEBOOTSTRAP_DIR": str(package / "usr" / "share" / "debootstrap")},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"debootstrap cannot make {release}: {(made.stderr or made.stdout).strip().splitlines()[-1:]}")
    for part in REMOVED:
        shutil.rmtree(system / part, ignore_errors=True)
    subprocess.run(["tar", "--create", "--file", str(tar), "--directory", str(system), "."], check=True)
    engine.api.import_image_from_file(
        str(tar), repository=REPOSITORY, tag=release, changes=[f"LABEL {LABEL}={release}"]
    )
