"""Running Locust on a scenario, for tests."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.results.run_reader import Run, find_runs
from bench.server.running import free_ports

ROOT = Path(__file__).parents[2]


def command(scenario: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "locust", "-f", str(ROOT / "scenarios" / scenario), *words]


def environment() -> dict[str, str]:
    """Without what Locust or a surrounding run would read from it; with a port of its own for a master's workers."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "BERTBENCH_"))}
    return {**inherited, **dict.fromkeys(("LOCUST_MASTER_BIND_PORT", "LOCUST_MASTER_NODE_PORT"), str(free_port()))}


def free_port() -> int:
    """A port that nobody listens on now."""
    (port,) = free_ports(1)
    return port


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What `condition` gives, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found


def started(scenario: str, *words: str) -> "subprocess.Popen[str]":
    """Starts Locust on a scenario, in a session of its own; both outputs are in `stdout`."""
    return subprocess.Popen(
        command(scenario, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        cwd=ROOT,
        start_new_session=True,
    )


@dataclass
class Ended:
    """A Locust process that ended, and the one run that it left, if it left one."""

    code: int
    out: str
    err: str
    left: Run | None

    @property
    def run(self) -> Run:
        """The run that it left."""
        assert self.left is not None, self.err
        return self.left

    def accounted(self) -> dict[str, int]:
        """Requests by outcome, after a look that none is missing."""
        counts = {name: count for name, count in self.run.file.counts.items() if count}
        records = self.run.columns(["due"])["due"].size
        assert sum(counts.values()) == records
        if self.run.manifest.scheduled is not None and not self.run.file.interrupted:
            assert records == self.run.manifest.scheduled
        return counts


def locust(scenario: str, results: Path, *words: str, timeout: float = 400.0, cwd: Path = ROOT) -> Ended:
    """Runs a scenario headless."""
    done = subprocess.run(
        command(scenario, "--headless", "--only-summary", "--results", str(results), *words),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment(),
        cwd=cwd,
    )
    runs = find_runs([results]) if any(results.glob("*/run.json")) else []
    assert len(runs) <= 1
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr, runs[0] if runs else None)
