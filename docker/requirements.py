"""Prints the requirements of an image: `python3 docker/requirements.py worker|load|full`, in the project's folder."""

import sys
import tomllib
from pathlib import Path

# Of pyproject.toml: the extras beside the base installation.
EXTRAS = {"load": (), "full": ("model", "score", "frame")}


def requirements(image: str, root: Path) -> list[str]:
    """The requirements of an image, one a line, without the project itself.

    Raises:
        KeyError: there is no such image.
    """
    if image == "worker":
        text = (root / "requirements" / "worker.txt").read_text(encoding="utf-8")
        return [line for line in text.splitlines() if line and not line.startswith("#")]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = list(project["dependencies"])
    for extra in EXTRAS[image]:
        found += project["optional-dependencies"][extra]
    return [line for line in found if not line.startswith(project["name"])]


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ("worker", *EXTRAS):
        sys.exit(f"INSTALL is worker, load or full, not {' '.join(sys.argv[1:])!r}")
    print("\n".join(requirements(sys.argv[1], Path.cwd())))
