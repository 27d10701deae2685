"""The lock files of `make setup`: complete, and with the versions of constraints.txt."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("dev.txt", "otava.txt")
MAKER = runpy.run_path(str(ROOT / "requirements" / "lock.py"))
BUILD = {"setuptools", "wheel"}


def locked(name: str) -> dict[str, tuple[str, list[str]]]:
    """The version and the hashes of each package of a lock file."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", "")
    found: dict[str, tuple[str, list[str]]] = {}
    for line in filter(lambda line: line and not line.startswith("#"), text.splitlines()):
        requirement = Requirement(line.partition("--hash")[0].strip())
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})(?:\s|$)", line)
        found[canonicalize_name(requirement.name)] = (str(requirement.specifier), hashes)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_each_package_has_one_version_and_hashes(name: str) -> None:
    for package, (version, hashes) in locked(name).items():
        assert version.startswith("=="), package
        assert hashes, package


def test_the_versions_are_those_of_the_constraints() -> None:
    """`make lock` is due when this fails."""
    pins: dict[str, set[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pins.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    for package, (version, _) in locked("dev.txt").items():
        assert package in BUILD or version in pins.get(package, ()), f"{package}{version}"


def test_all_that_the_project_requires_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {canonicalize_name(Requirement(text).name) for text in MAKER["direct_requirements"](project)}
    assert names - set(locked("dev.txt")) == set()
    assert set(locked("otava.txt")) == {canonicalize_name(Requirement(MAKER["OTAVA"]).name)}
