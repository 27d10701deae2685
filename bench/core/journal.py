"""An output file that can be resumed after a kill: a small journal beside it has the length that is complete.

Format history of `PATH.progress`:
    1: a digest of the job, items, bytes.
    2: the job itself, and digests over what was read and what was written.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from bench.core import interrupts
from bench.core.atomic_files import open_held, write_atomically
from bench.core.errors import UsageError, naming
from bench.core.versioned_json import VersionedJson

_ANEW: Final = "leave out --resume to start anew"
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _State:
    """A journal.

    Args:
        job: what determines the output's bytes beside the input.
        items: whole items in the output.
        bytes: its size.
        read: SHA-256 of the input of these items.
        written: SHA-256 of the output.
    """

    job: Mapping[str, Any]
    items: int
    bytes: int
    read: str
    written: str


_FILE: Final = VersionedJson(
    _State, 2, name="journal", cure=_ANEW, unnumbered="items", exact=False, option=orjson.OPT_INDENT_2
)


def journal_of(path: Path) -> Path:
    """The journal of an output file."""
    return path.with_name(path.name + ".progress")


class ResumableFile:
    """A file written sequentially in whole items, with its journal `PATH.progress`.

    What is there stays as it is until the first write: a run that fails before has nothing to put in its place. The
    journal goes when the file is finished, so that a resumed run leaves the same files as an undisturbed one.

    Args:
        path: the output file.
        job: what determines the bytes beside the input (format, model, target), plain values; a journal of another job
            is refused.
        resume: go on where an earlier run of the same job was.

    Raises:
        UsageError: another process is at work in the file; `resume` with nothing to go on with, with the journal of
            another job, or with a file that is not what was written.
        OSError: the file cannot be opened or written.
    """

    def __init__(self, path: Path, job: Mapping[str, Any], resume: bool) -> None:
        self.path = path
        self.journal = journal_of(path)
        self._job = dict(job)
        self._read_before = ""
        self._read, self._written = hashlib.sha256(), hashlib.sha256()
        self._made = self._begun = False
        with contextlib.ExitStack() as stack:
            stream = self._existing()
            if stream is not None:
                stack.callback(stream.close)
            self.items, self._bytes = self._taken_up() if resume else (0, 0)
            self._checked = not self.items
            self._stream = self._new() if stream is None else stream
            stack.pop_all()

    def _existing(self) -> BinaryIO | None:
        """The file as it is; None where there is none yet."""
        if self.path.exists() and not os.access(self.path.parent, os.W_OK):
            # Known here, and not after hours of work, when the journal is written.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self.journal))
        try:
            return open_held(self.path)
        except FileNotFoundError:
            if not self.path.parent.is_dir():
                raise
            return None

    def _new(self) -> BinaryIO:
        """The file, made; its journal comes first, since without one it would read as finished."""
        self._mark()
        try:
            stream = open_held(self.path, new=True)
        except OSError:
            self.journal.unlink(missing_ok=True)
            raise
        self._made = True
        return stream

    def _begin(self) -> None:
        """Makes the file this job's; the journal comes before one that is emptied, which would read as finished."""
        if self._begun:
            return
        if not self._checked:
            raise ValueError("the input of what the file holds was not checked")
        with interrupts.held(), naming(self.path):
            self._mark()
            self._begun = True
            self._stream.truncate(self._bytes)
            self._stream.seek(self._bytes)

    def _taken_up(self) -> tuple[int, int]:
        """(items, bytes) of an earlier run."""
        state = self._state()
        self._check_job(state.job)
        self._read_before = state.read
        if state.bytes:
            self._check_written(state.bytes, state.written)
        return state.items, state.bytes

    def _state(self) -> "_State":
        """The content of the journal."""
        try:
            state = _FILE.read(self.journal)
        except FileNotFoundError:
            if self.path.exists():
                raise UsageError(
                    f"{self.path} has no journal {self.journal.name} beside it: it is finished, or not an interrupted "
                    "output of bertbench; remove it or leave out --resume"
                ) from None
            raise UsageError(f"there is no {self.path} to resume; leave out --resume") from None
        for name in ("items", "bytes"):
            if (value := getattr(state, name)) < 0:
                raise UsageError(f"{self.journal} is not a valid {_FILE.name} ({name} is {value}); {_ANEW}")
        return state

    def _check_job(self, found: Mapping[str, Any]) -> None:
        changed = [name for name in sorted(found.keys() | self._job.keys()) if found.get(name) != self._job.get(name)]
        if changed:
            was = ", ".join(f"{name} was {found.get(name)!r}, now {self._job.get(name)!r}" for name in changed)
            raise UsageError(f"{self.path} was started with other options ({was}); give the same, or {_ANEW}")

    def _check_written(self, size: int, digest: str) -> None:
        """Checks that the file has what was written up to the last checkpoint."""
        if not self.path.is_file() or self.path.stat().st_size < size:
            raise UsageError(f"{self.path} is shorter than its journal says; {_ANEW}")
        with self.path.open("rb") as file:
            left = size
            while left and (piece := file.read(min(left, _PIECE))):
                self._written.update(piece)
                left -= len(piece)
        if self._written.hexdigest() != digest:
            raise UsageError(f"{self.path} was changed since it was written; {_ANEW}")

    def skip(self, source: bytes) -> None:
        """Adds the input of an item that the file already has to the digest, for all `items` in order."""
        self._read.update(source)

    def check_input(self, name: str, skipped: int) -> None:
        """Checks that the input of all skipped items is the same as before.

        Args:
            name: the input's, for people.
            skipped: items that were skipped.

        Raises:
            UsageError: the input has changed.
        """
        if skipped != self.items or (self._read_before and self._read.hexdigest() != self._read_before):
            raise UsageError(
                f"{name} has changed since {self.path} was begun: its first {self.items} sentences are not those that "
                f"were scored; {_ANEW}"
            )
        self._checked = True

    def write(self, data: bytes, source: bytes | None = None) -> None:
        """Appends `data`; with its `source` it completes one more item."""
        self._begin()
        with naming(self.path):
            self._stream.write(data)
        self._written.update(data)
        self._bytes += len(data)
        if source is not None:
            self._read.update(source)
            self.items += 1

    def checkpoint(self) -> None:
        """Makes what was written so far durable: a resumed run continues here."""
        self._to_disk()
        self._mark()

    def finish(self) -> None:
        """Completes the file and removes the journal."""
        self._to_disk()
        # While the file is held: afterwards it may be another run's, with a journal of its own.
        self.journal.unlink(missing_ok=True)
        self._stream.close()

    def close(self) -> None:
        """Closes the unfinished file, which can be resumed after the last checkpoint.

        One that was begun and has no item is removed; one that was not is as it was.
        """
        if self._stream.closed:
            return
        try:
            if not self.items and (self._made or self._begun):
                self.path.unlink(missing_ok=True)
                self.journal.unlink(missing_ok=True)
        finally:
            with naming(self.path):
                self._stream.close()

    def _to_disk(self) -> None:
        self._begin()
        with naming(self.path):
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def _mark(self) -> None:
        read = self._read.hexdigest() if self._checked else self._read_before
        state = _State(self._job, self.items, self._bytes, read, self._written.hexdigest())
        write_atomically(self.journal, _FILE.encode(state))
