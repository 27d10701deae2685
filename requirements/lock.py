"""Makes dev.txt and otava.txt, the lock files of `make setup`: each package with its version and its files' hashes.

    make lock

Versions are those of constraints.txt; `uv` finds the hashes on the package index, for Linux and macOS.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
EXTRAS: Final = ("dev",)
PYTHON: Final = "3.11"
SYSTEMS: Final = ("linux", "darwin")
OTAVA: Final = "apache-otava==0.8.0"
"""Installed without what it requires, see docs/dependencies.md."""
HEADER: Final = """\
# {what} Made by `make lock`.
# pip install --require-hashes{more} -r requirements/{name}
"""


def direct_requirements(project: dict[str, Any]) -> list[str]:
    """What the project and the extras require, with extras of the project itself resolved."""
    extras = project["optional-dependencies"]
    found: dict[str, None] = dict.fromkeys(project["dependencies"])
    todo = list(EXTRAS)
    while todo:
        for text in extras[todo.pop()]:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) == project["name"]:
                todo += requirement.extras
            else:
                found[text] = None
    return list(found)


def compiled(source: Path, *options: str) -> str:
    """The lock of a file of requirements.

    Raises:
        subprocess.CalledProcessError: `uv` found no versions; it says why on standard error.
    """
    form = ("--quiet", "--generate-hashes", "--no-annotate", "--no-header")
    command = (sys.executable, "-m", "uv", "pip", "compile", str(source), *form, *options)
    # In its folder, where no other project's settings are found.
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=source.parent)
    return done.stdout


def main() -> None:
    """Writes both files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    required = [*direct_requirements(project["project"]), *project["build-system"]["requires"]]
    environments = [f"python_version == '{PYTHON}' and sys_platform == '{system}'" for system in SYSTEMS]
    with tempfile.TemporaryDirectory() as folder:
        # Only a project can say for which Pythons and systems its packages are looked up.
        whole, alone = Path(folder, "pyproject.toml"), Path(folder, "otava.in")
        whole.write_text(
            f'[project]\nname = "locked"\nversion = "0"\n'
            f"dependencies = {required!r}\n[tool.uv]\nenvironments = {environments!r}\n",
            encoding="utf-8",
        )
        alone.write_text(f"{OTAVA}\n", encoding="utf-8")
        dev = compiled(whole, "--universal", "--python-version", PYTHON, "--constraints", str(ROOT / "constraints.txt"))
        otava = compiled(alone, "--no-deps")
    write("dev.txt", "What `make setup` installs.", "", dev)
    write("otava.txt", "What `make setup` installs without its requirements.", " --no-deps", otava)


def write(name: str, what: str, more: str, text: str) -> None:
    """Writes a lock file under its header."""
    (HERE / name).write_text(HEADER.format(what=what, more=more, name=name) + text, encoding="utf-8")


if __name__ == "__main__":
    main()
