"""An output file that can be taken up again after a kill: a small journal beside it tells how far it is whole."""

import hashlib
import os
from pathlib import Path
from typing import IO, Any

import orjson

from bench.errors import UsageError


class ResumableFile:
    """A file written front to back in whole items, with `PATH.progress` telling items done and bytes written.

    The journal goes when the file is finished, so that a resumed run leaves the same files as an undisturbed one.

    Args:
        path: the output file.
        job: what determines the bytes (input, format, model); a journal of another job is refused.
        resume: go on where an earlier run of the same job was; without a journal of it the file starts anew.

    Raises:
        UsageError: `resume` with the journal of another job, or with a file that is shorter than its journal says.
    """

    def __init__(self, path: Path, job: dict[str, Any], resume: bool) -> None:
        self.path = path
        self.journal = path.with_name(path.name + ".progress")
        self._job = hashlib.sha256(orjson.dumps(job, option=orjson.OPT_SORT_KEYS)).hexdigest()
        self.items, self._bytes = self._taken_up() if resume else (0, 0)
        mode = "r+b" if self._bytes else "wb"
        self._stream: IO[bytes] = path.open(mode)
        self._stream.truncate(self._bytes)
        self._stream.seek(self._bytes)
        self._mark()

    def _taken_up(self) -> tuple[int, int]:
        """(items, bytes) of an earlier run; zeros if there was none."""
        if not self.journal.exists():
            if self.path.exists() and self.path.stat().st_size:
                raise UsageError(f"{self.path} is finished or no interrupted output; remove it or drop --resume")
            return 0, 0
        try:
            state = orjson.loads(self.journal.read_bytes())
            job, items, size = state["job"], int(state["items"]), int(state["bytes"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{self.journal} cannot be read ({error}); remove it and start again") from error
        if job != self._job:
            raise UsageError(f"{self.path} was begun with another input, format or model; drop --resume to start anew")
        if size and (not self.path.exists() or self.path.stat().st_size < size):
            raise UsageError(f"{self.path} is shorter than its journal says; drop --resume to start anew")
        return items, size

    def write(self, data: bytes, items: int) -> None:
        """Appends `data`, which completes `items` more items."""
        self._stream.write(data)
        self._bytes += len(data)
        self.items += items

    def checkpoint(self) -> None:
        """Makes what was written so far survive a kill: a resumed run goes on here."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._mark()

    def finish(self) -> None:
        """The file is whole: the journal goes."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self.journal.unlink(missing_ok=True)

    def close(self) -> None:
        """Leaves the file unfinished, ready to be taken up behind the last checkpoint; one without any item goes."""
        if self._stream.closed:
            return
        self._stream.close()
        if not self.items:
            self.path.unlink(missing_ok=True)
            self.journal.unlink(missing_ok=True)

    def _mark(self) -> None:
        scratch = self.journal.with_name(self.journal.name + ".tmp")
        scratch.write_bytes(orjson.dumps({"job": self._job, "items": self.items, "bytes": self._bytes}))
        scratch.replace(self.journal)
