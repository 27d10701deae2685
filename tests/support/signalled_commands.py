"""Commands that are sent a signal at a stage of their work, which what they print or do shows, never passed time."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

ROOT = Path(__file__).parents[2]
BERTBENCH = (sys.executable, "-m", "bench")
LONG = 400.0

Stage = str | Callable[["Started"], object]


def locust(scenario: str = "rest.py") -> tuple[str, ...]:
    return (sys.executable, "-m", "locust", "-f", str(ROOT / "scenarios" / scenario))


def stored(root: Path) -> Stage:
    """The stage at which records have come to the disk."""
    return lambda started: any(path.stat().st_size for path in root.glob("**/requests.blocks"))


def there(pattern: str, root: Path) -> Stage:
    """The stage at which files are there."""
    return lambda started: list(root.glob(pattern))


def sending(port: int) -> Stage:
    """The stage at which the process, or one that it started, is connected to a server."""

    def connected(started: "Started") -> bool:
        found = [link for process in started.family() for link in _links(process)]
        return any(link.raddr and link.raddr.port == port and link.status == "ESTABLISHED" for link in found)  # type: ignore[attr-defined]

    return connected


def _links(process: psutil.Process) -> list[object]:
    try:
        return list(process.net_connections("tcp"))
    except psutil.Error:
        return []


@dataclass
class Started:
    """A process of a command, what it has said so far, and the processes that it started."""

    process: "subprocess.Popen[str]"
    scratch: Path
    said: dict[str, str] = field(default_factory=lambda: {"out": "", "err": ""})
    readers: list[threading.Thread] = field(default_factory=list)
    children: set[psutil.Process] = field(default_factory=set)

    def listen(self, name: str, stream: IO[str]) -> None:
        def read() -> None:
            with stream:
                for line in stream:
                    self.said[name] += line

        self.readers.append(threading.Thread(target=read, daemon=True))
        self.readers[-1].start()

    def family(self) -> list[psutil.Process]:
        """The process and all below it."""
        try:
            process = psutil.Process(self.process.pid)
            return [process, *process.children(recursive=True)]
        except psutil.Error:
            return []

    def until(self, stage: Stage) -> "Started":
        """Waits for a stage: a text that is printed, or something that is so."""
        end = time.monotonic() + LONG
        while not self._is_at(stage):
            if self.process.poll() is not None:
                for reader in self.readers:
                    reader.join(LONG)
                assert self._is_at(stage), f"ended before the stage: {self.said}"
            assert time.monotonic() < end, f"the stage did not come: {self.said}"
            # A look at the connections of all its processes takes milliseconds.
            time.sleep(0.01 if isinstance(stage, str) else 0.05)
        return self

    def _is_at(self, stage: Stage) -> bool:
        return stage in self.said["out"] + self.said["err"] if isinstance(stage, str) else bool(stage(self))

    def tell(self, number: int, group: bool = False, times: int = 1) -> "Started":
        """Sends a signal to the process, or to its whole group as a terminal does."""
        self.children |= set(self.family()[1:])
        for _ in range(times):
            (os.killpg if group else os.kill)(self.process.pid, number)
        return self

    def end(self) -> int:
        """Waits for the end, looks that nothing is left behind, and gives the exit code."""
        code = self.process.wait(LONG)
        for reader in self.readers:
            reader.join(LONG)
        _, alive = psutil.wait_procs(self.children, timeout=120)
        assert not alive, "processes were left"
        assert "Traceback" not in self.said["out"] + self.said["err"], self.said
        assert not list(self.scratch.iterdir()), "temporary files were left"
        return code

    @property
    def line(self) -> str:
        """The last line on standard error."""
        return (self.said["err"].splitlines() or [""])[-1]


class Commands:
    """Starts commands; `close` ends what a failed test left.

    Args:
        scratch: folder for their temporary files, one each.
        environment: variables beside this process's.
    """

    def __init__(self, scratch: Path, environment: dict[str, str]) -> None:
        self._scratch = scratch
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("LOCUST_", "BERTBENCH_"))}
        self._environment = {**inherited, **environment}
        self._started: list[Started] = []

    def start(self, *words: object, environment: dict[str, str] | None = None) -> Started:
        """Starts a command in a session of its own."""
        scratch = self._scratch / f"tmp-{len(self._started)}"
        scratch.mkdir()
        # The tests themselves may run under nohup, which every process inherits.
        inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            process = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**self._environment, "TMPDIR": str(scratch), **(environment or {})},
                cwd=ROOT,
                start_new_session=True,
            )
        finally:
            signal.signal(signal.SIGHUP, inherited)
        started = Started(process, scratch)
        assert process.stdout is not None
        assert process.stderr is not None
        started.listen("out", process.stdout)
        started.listen("err", process.stderr)
        self._started.append(started)
        return started

    def close(self) -> None:
        """Kills what still runs."""
        for started in self._started:
            for process in started.family():
                process.kill()
            started.process.kill()
            started.process.wait()
            for reader in started.readers:
                reader.join(LONG)


def interrupted(number: signal.Signals) -> tuple[int, str]:
    """The exit code and how the last line begins after a signal."""
    return 128 + number, f"bertbench: interrupted by {number.name}"
