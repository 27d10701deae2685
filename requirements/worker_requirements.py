"""Makes worker.txt: the packages of worker.in and all that they require, with the versions of constraints.txt.

    python requirements/worker_requirements.py

It reads the metadata of the installed packages, so that it needs no network.
"""

from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

HERE: Final = Path(__file__).parent
CONSTRAINTS: Final = HERE.parent / "constraints.txt"
LEFT_OUT: Final = frozenset({"pytest"})
"""What Locust requires and a scenario never loads: pytest is for locustfiles that are tests, without user classes."""
HEADER: Final = """\
# What a load-generating Locust worker needs, beside bertbench itself. Made by `make worker-requirements`.
# pip install --no-deps -r worker.txt WHEEL: the list is complete, without pytest, which no scenario loads.
"""


def lines(path: Path) -> list[str]:
    """The lines of a requirements file, without comments."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def required(names: list[str]) -> set[NormalizedName]:
    """The packages and all that they require here, extras of requirements included, less what is left out.

    Raises:
        importlib.metadata.PackageNotFoundError: one of them is not installed.
    """
    found: set[tuple[NormalizedName, str]] = set()
    todo = [(canonicalize_name(name), "") for name in names]
    while todo:
        name, extra = one = todo.pop()
        if one in found or name in LEFT_OUT:
            continue
        found.add(one)
        for requirement in map(Requirement, metadata.requires(name) or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(requirement.name), each) for each in ("", *requirement.extras)]
    return {name for name, _ in found}


def worker_requirements() -> str:
    """The text of worker.txt.

    Raises:
        LookupError: constraints.txt lacks a package.
    """
    names = required(lines(HERE / "worker.in"))
    pins = [line for line in lines(CONSTRAINTS) if canonicalize_name(Requirement(line).name) in names]
    missing = names - {canonicalize_name(Requirement(line).name) for line in pins}
    if missing:
        raise LookupError(f"constraints.txt lacks {', '.join(sorted(missing))}; add the installed versions")
    return HEADER + "".join(f"{line}\n" for line in pins)


if __name__ == "__main__":
    (HERE / "worker.txt").write_text(worker_requirements(), encoding="utf-8")
