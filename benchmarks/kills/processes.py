"""Commands that are killed, and the processes that they started, which a mark in their environment shows."""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from tests.support.locust_process import ROOT, environment

MARK: Final = "KILLED_COMMAND"
END_SECONDS: Final = 15.0
"""Within which all that a command started ends after it."""
_PATIENCE: Final = 120.0
"""For a command that lost one of its processes, beside the time that it takes undisturbed."""
_SHARE_OF_COMMANDS: Final = 0.75
_LOOK_SECONDS: Final = 0.02
_LISTENING: Final = "0A"


@dataclass(frozen=True, slots=True)
class Blow:
    """A kill.

    Args:
        after: seconds from the start of the command; of one that is late, those that it took.
        moment: seconds since the epoch of the clock.
        victim: command line of the process that was killed; "" for the command itself.
        late: the command had ended by then.
    """

    after: float
    moment: float
    victim: str
    late: bool = False

    def __str__(self) -> str:
        killed = "ended before its kill" if self.late else f"killed {self.victim or 'itself'}"
        return f"{self.after:.3f} s after the start, {killed}"


@dataclass
class Started:
    """A command in a session of its own.

    Args:
        process: the command.
        mark: of all processes that it starts.
        folder: has its output and its temporary files.
        begun: when it started, on the monotonic clock.
    """

    process: "subprocess.Popen[bytes]"
    mark: str
    folder: Path
    begun: float
    _sockets: set[str] = field(default_factory=set)

    @property
    def said(self) -> str:
        """What it wrote to standard error."""
        return (self.folder / "err").read_text(errors="replace")

    def kill(self, after: float, rng: random.Random) -> Blow:
        """Kills the command or, less often, one of the processes that it started, `after` seconds from its start."""
        whom, which = rng.random(), rng.random()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(self.begun + after - time.monotonic(), 0.0))
        if self.process.poll() is not None:
            return Blow(time.monotonic() - self.begun, time.time(), "", late=True)
        family = self.family()
        self._sockets = set().union(*map(_sockets_of, family))
        others = sorted((one for one in family if one.pid != self.process.pid), key=lambda one: one.pid)
        if others and whom >= _SHARE_OF_COMMANDS:
            victim = others[int(which * len(others))]
            with contextlib.suppress(psutil.NoSuchProcess):
                words = " ".join(victim.cmdline())[-120:] or f"process {victim.pid}"
                victim.kill()
                return Blow(after, time.time(), words)
        self.process.kill()
        return Blow(after, time.time(), "")

    def family(self) -> list[psutil.Process]:
        """The command and all that it started, in sessions of their own and belonging to nobody too."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, psutil.Error):
                    if wanted in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(psutil.Process(int(entry.name)))
        return found

    def wait(self, seconds: float) -> int | None:
        """The exit code; None if the command has not ended `_PATIENCE` after `seconds`."""
        try:
            return self.process.wait(seconds + _PATIENCE)
        except subprocess.TimeoutExpired:
            return None

    def left(self, patience: float = END_SECONDS) -> tuple[float, list[str]]:
        """Seconds until all others had ended, and one line for each process and port that remained.

        Args:
            patience: longest time to wait for them, seconds.
        """
        begun = time.monotonic()
        # A process that ends loses its environment before its sockets.
        while (remained := self._remaining()) and time.monotonic() < begun + patience:
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - begun, remained

    def _remaining(self) -> list[str]:
        listening = _listening()
        ports = [f"port {listening[inode]} is still open" for inode in self._sockets & listening.keys()]
        return [*(f"a process remained: {_words(one)}" for one in self.family()), *ports]

    def end(self) -> None:
        """Kills what still runs."""
        for one in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.kill()
        self.process.wait()


def start(words: Sequence[str], mark: str, folder: Path) -> Started:
    """Starts a command; `folder` is made for its output and temporary files."""
    scratch = folder / "tmp"
    scratch.mkdir(parents=True)
    begun = time.monotonic()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment() | {MARK: mark, "TMPDIR": str(scratch)},
            cwd=ROOT,
            start_new_session=True,
        )
    return Started(process, mark, folder, begun)


def undisturbed(words: Sequence[str], mark: str, folder: Path) -> tuple[int | None, float, str]:
    """Exit code, seconds and standard error of a command that nobody kills."""
    started = start(words, mark, folder)
    try:
        code = started.wait(0.0)
        return code, time.monotonic() - started.begun, started.said
    finally:
        started.end()


def _words(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return f"{process.pid} {' '.join(process.cmdline())[-160:]}"
    return f"{process.pid}"


def _sockets_of(process: psutil.Process) -> Iterable[str]:
    """Inodes of a process's sockets."""
    found = []
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                kind, _, inode = os.readlink(entry).partition(":")
                if kind == "socket":
                    found.append(inode.strip("[]"))
    return found


def _listening() -> dict[str, int]:
    """The port of each listening socket, by inode; see proc(5)."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                found[fields[9]] = int(fields[1].rpartition(":")[2], 16)
    return found
