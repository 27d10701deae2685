"""Snapshots from a Locust process to the command that started it, one line of JSON each, over an inherited pipe."""

import contextlib
import os
from collections.abc import Iterator

from bench.load.live.live_figures import LiveFigures
from bench.load.live.snapshot import Snapshot

_CHUNK = 1 << 16


class SnapshotPipe:
    """The end that writes: it never waits for the reader, since it is called where requests are sent.

    Args:
        descriptor: of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self._gone = False
        os.set_blocking(descriptor, False)

    def __call__(self, figures: LiveFigures) -> None:
        """Writes the newest figures, unless the reader has left or still has to read the line before."""
        self._flush()
        if not self._rest and not self._gone:
            self._rest = figures.snapshot().to_json() + b"\n"
            self._flush()

    def _flush(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[os.write(self._descriptor, self._rest) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._rest, self._gone = b"", True


def read_snapshots(descriptor: int) -> Iterator[Snapshot]:
    """The snapshots from the other end, until it is closed; closes the descriptor."""
    data = b""
    with contextlib.closing(os.fdopen(descriptor, "rb", buffering=0)) as pipe:
        while more := pipe.read(_CHUNK):
            *lines, data = (data + more).split(b"\n")
            yield from map(Snapshot.from_json, lines)
