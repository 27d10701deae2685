"""The versions of a model on disk, and those that a policy selects (file_system_storage_path_source.cc)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.server.embedded.base.limits import INT64_MAX


def versions_on_disk(base_path: Path) -> dict[int, Path]:
    """The version folders under a base path, by number: all whose name is a non-negative integer.

    Of several with one number it is the last one in the order of the names, as `1` after `01`.

    Raises:
        OSError: the base path cannot be listed.
    """
    found: dict[int, Path] = {}
    for child in sorted(base_path.iterdir()):
        version = parse_version(child.name)
        if version is not None and child.is_dir():
            found[version] = child
    return found


def parse_version(name: str) -> int | None:
    """The version that a folder's name stands for; leading zeros and surrounding blanks are ignored."""
    text = name.strip()
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return None
    version = int(text)
    return version if 0 <= version <= INT64_MAX else None


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions of a model should serve.

    Args:
        newest: at most so many, the newest ones; None for all.
        only: the numbers of those that may; None for any.
    """

    newest: int | None = 1
    only: frozenset[int] | None = None

    def wanted(self, found: Iterable[int]) -> list[int]:
        """The versions that should serve, the newest first.

        Args:
            found: the versions on disk.
        """
        chosen = found if self.only is None else self.only.intersection(found)
        return sorted(chosen, reverse=True)[: self.newest]


def read_policy(policy: Any) -> VersionPolicy:
    """The policy of a ServableVersionPolicy; an empty one selects the latest version."""
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(None)
    if choice == "specific":
        return VersionPolicy(None, frozenset(policy.specific.versions))
    return VersionPolicy(max(policy.latest.num_versions, 1))
