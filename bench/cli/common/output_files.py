"""Files that a command's options name for output: none overwrites another, nor what the command reads or makes."""

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from bench.core.atomic_files import passes_through, place_of, temporary_of
from bench.core.errors import UsageError


def refuse_overlaps(
    outputs: Mapping[str, Path | None],
    *,
    others: Iterable[Path] = (),
    folders: Iterable[Path] = (),
    in_place: Collection[str] = (),
) -> None:
    """Refuses files that would overwrite each other, before anything is written.

    Args:
        outputs: the file of each option, None where it is not given. Devices and pipes overwrite nothing.
        others: files that the command reads, or writes of its own accord.
        folders: that it makes or has.
        in_place: options whose file is written where it stands, not replaced.

    Raises:
        UsageError: two options name one file, or one names one of `others`, or a folder or what must be one; or the
            file that is written first, to replace one, is one of these.
    """
    taken: dict[object, str] = {}
    reserved = {_identity(path) for path in others}
    made = {_identity(above) for folder in folders for above in (folder.absolute(), *folder.absolute().parents)}
    for option, path in outputs.items():
        if path is None or passes_through(path):
            continue
        identity = _identity(path)
        if identity in taken:
            raise UsageError(f"{taken[identity]} and {option} both name {path}; name another file for one of them")
        if identity in reserved:
            raise UsageError(f"{option} would overwrite {path}, which the command needs too; name another file")
        if identity in made:
            raise UsageError(f"{option} names {path}, which is or becomes a folder; name a file")
        taken[identity] = option
    for option, path in outputs.items():
        if path is None or option in in_place or passes_through(path):
            continue
        temporary = temporary_of(place_of(path))
        if _identity(temporary) in reserved | taken.keys():
            raise UsageError(f"{option} is written to {temporary} first, which is needed too; name another file")


def _identity(path: Path) -> object:
    """Equal for all names of one file, whether it is there or not yet."""
    try:
        found = path.stat()
    except OSError:
        return os.path.realpath(path)
    return found.st_dev, found.st_ino
