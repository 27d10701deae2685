"""The versions of a model on disk, and those that a policy selects (file_system_storage_path_source.cc)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.server.embedded.base.limits import INT64_MAX


def versions_on_disk(base_path: Path) -> dict[int, Path]:
    """The version folders under a base path, by number: all whose name is a non-negative integer.

    Raises:
        OSError: the base path cannot be listed.
    """
    found: dict[int, Path] = {}
    for child in sorted(base_path.iterdir()):
        version = parse_version(child.name)
        if version is not None and version not in found and child.is_dir():
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


def wanted_versions(policy: Any, found: Mapping[int, Path]) -> list[int]:
    """The versions that should serve, the newest first.

    Args:
        policy: a ServableVersionPolicy; an empty one selects the latest version.
        found: the versions on disk.
    """
    newest_first = sorted(found, reverse=True)
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return newest_first
    if choice == "specific":
        requested = set(policy.specific.versions)
        return [version for version in newest_first if version in requested]
    return newest_first[: max(policy.latest.num_versions, 1)]
