"""Environments made of the packages that are installed here and of the project's wheel, without a network."""

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[2]
PARTS: Final = ("bench", "scenarios", "pyproject.toml", "README.md", "LICENSE")
SCRIPT: Final = "#!{python}\nimport sys\nfrom {module} import {name}\nsys.exit({name}())\n"


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout in `folder`, built once by the test processes that share it."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = list(folder.glob("*.whl"))
        if not found:
            source = copy_sources(folder / "source")
            words = ["wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder), str(source)]
            subprocess.run([sys.executable, "-m", "pip", *words], check=True, timeout=300)
            found = list(folder.glob("*.whl"))
    (wheel,) = found
    return wheel


def copy_sources(folder: Path, *more: str) -> Path:
    """A copy of what the wheel is made of: setuptools would pack what an earlier build left in the checkout.

    Args:
        folder: where it is made.
        more: further files of the checkout.
    """
    folder.mkdir()
    for part in (ROOT / name for name in (*PARTS, *more)):
        if part.is_dir():
            shutil.copytree(part, folder / part.name, symlinks=True)
        else:
            shutil.copy2(part, folder)
    return folder


def dependencies(extra: str = "") -> list[str]:
    """The requirements of the package in pyproject.toml, or those of one of its extras too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = list(project["dependencies"])
    todo = [extra] if extra else []
    while todo:
        for text in project["optional-dependencies"][todo.pop()]:
            requirement = Requirement(text)
            todo += requirement.extras if requirement.name == "bertbench" else []
            found += [] if requirement.name == "bertbench" else [text]
    return found


def required(*requirements: str) -> set[str]:
    """The packages that are required, and those that these require."""
    found: set[tuple[str, str]] = set()
    todo = [(requirement, "") for requirement in map(Requirement, requirements)]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for each in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), each)
            if key not in found:
                found.add(key)
                todo += [(Requirement(text), each) for text in metadata.requires(requirement.name) or ()]
    return {name for name, _ in found}


@dataclass(frozen=True)
class Installation:
    """An environment with an interpreter of its own."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    @property
    def size(self) -> int:
        """Bytes on disk of all packages, as `du` counts them."""
        return sum(path.lstat().st_blocks for path in (self.packages, *self.packages.rglob("*"))) * 512

    def run(self, *words: object, cwd: Path, timeout: float = 300.0, **more: str) -> "subprocess.CompletedProcess[str]":
        """A command of the environment, in a process that knows nothing of the checkout; `more` are variables."""
        return subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env=self.variables(cwd) | more,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def variables(self, home: Path) -> dict[str, str]:
        return {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(home)}


def install(folder: Path, packages: Iterable[str], wheel: Path | None = None) -> Installation:
    """An environment with packages that are installed here, and with the wheel.

    Their files are links to those that are installed here, or copies on another file system.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    made = Installation(folder)
    for name in sorted(packages):
        distribution = metadata.distribution(name)
        for file in distribution.files or ():
            source = Path(str(file.locate()))
            if file.parts[0] != ".." and source.is_file():
                _link(source, made.packages / file)
        _write_scripts(made, distribution)
    if wheel is not None:
        words = ["--python", str(made.python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True, timeout=300)
    return made


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        # Named twice in the package's list of files.
        pass
    except OSError:
        shutil.copy2(source, target)


def _write_scripts(made: Installation, distribution: Any) -> None:
    """The console scripts of a package, as an installer writes them."""
    for point in distribution.entry_points.select(group="console_scripts"):
        script = made.folder / "bin" / point.name
        script.write_text(SCRIPT.format(python=made.python, module=point.module, name=point.attr))
        script.chmod(0o755)
