"""Systems that lack what Linux has: a slower way that works, or one line that says what to do."""

import ctypes
import errno
import io
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.bert.demo.client_files import CLIENT_FOLDER
from bench.cli import main
from bench.core import operating_system
from bench.core.cores import allowed_cores
from bench.core.errors import UsageError
from bench.load.engine import pacer, worker_session
from bench.results.environment import this_environment
from bench.results.run_reader import find_runs
from bench.server.affinity import cores_for, pin
from bench.server.lifecycle import RunningServer
from bench.server.process import embedded

pytestmark = pytest.mark.long(70)

# What a process finds on a system without timerfd, prctl, epoll, affinity, load average and the kernel's files.
ELSEWHERE = """
import ctypes, io, os, pathlib, platform, select, socket

class Library(ctypes.CDLL):
    def __getattr__(self, name):
        if name in ("timerfd_create", "timerfd_settime", "prctl"):
            raise AttributeError(name)
        return super().__getattr__(name)

def not_there(*args, **kwargs):
    raise FileNotFoundError(2, "No such file or directory")

def unknown():
    raise OSError("load average unobtainable")

read_text = pathlib.Path.read_text
ctypes.CDLL = Library
pathlib.Path.read_text = lambda path, *args, **kwargs: (
    not_there() if str(path).startswith(("/proc/", "/sys/")) else read_text(path, *args, **kwargs)
)
platform.system = lambda: "Darwin"
platform.freedesktop_os_release = not_there
os.getloadavg = unknown
socket.__all__ = [name for name in socket.__all__ if name != "TCP_INFO"]
for module, names in (
    (os, ("sched_getaffinity", "sched_setaffinity", "eventfd", "timerfd_create")),
    (select, ("epoll",)),
    (socket, ("TCP_INFO",)),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""


def elsewhere(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command on such a system; the processes that it starts are there too."""
    site = folder / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(ELSEWHERE)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "HOME": str(folder)}
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=folder, timeout=300, check=False
    )


def test_load_with_several_processes_works_elsewhere(demo_server: RunningServer, tmp_path: Path) -> None:
    words = ("--target", f"grpc://{demo_server.grpc}", "--arrivals", "constant:rate=40", "--duration", "2s")
    done = elsewhere(tmp_path, "run", "grpc", *words, "--processes", "2")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    (run,) = find_runs([tmp_path / "results"])
    assert {name for name, count in run.file.counts.items() if count} == {"ok"}
    machine = run.manifest.environment
    assert (machine.boot_id, machine.load_average, machine.governor) == (None, None, None)
    assert machine.cores_allowed == os.cpu_count()


def test_a_gate_works_elsewhere(demo_server: RunningServer, tmp_path: Path) -> None:
    target = f"http://{str(demo_server.rest).removeprefix('http://')}"
    done = elsewhere(tmp_path, "gate", "--baseline", target, "--candidate", target, "--max-time", "6s")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 3, done.stderr
    assert "INCONCLUSIVE" in done.stdout


def test_the_embedded_server_is_refused_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "eventfd")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with (
        pytest.raises(UsageError, match=r"needs epoll and eventfd of Linux, which Darwin lacks; give the address"),
        embedded(CLIENT_FOLDER),
    ):
        pass


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("Windows", "Windows is not supported; use the Windows Subsystem for Linux, or a container"),
        ("Linux", "/proc is not mounted, which CPU time is read from; run: mount -t proc proc /proc"),
    ],
)
def test_a_system_on_which_nothing_works_is_refused(
    system: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(operating_system, "_PROC", str(tmp_path / "stat"))
    out, err = io.StringIO(), io.StringIO()
    assert main(["scenario", "list"], out, err) == 2
    assert (out.getvalue(), err.getvalue()) == ("", f"bertbench: {said}\n")


class Library:
    """A C library whose timerfd_create fails with an error number; 0 is a library without it."""

    def __init__(self, error: int) -> None:
        if error:
            self.timerfd_create = lambda clock, flags: min(-1, ctypes.set_errno(error))


@pytest.mark.parametrize("error", [0, errno.ENOSYS, errno.EPERM])
def test_without_a_timerfd_the_event_loop_waits(error: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacer.ctypes, "CDLL", lambda *args, **kwargs: Library(error))  # type: ignore[attr-defined]
    made = pacer.Pacer()
    now = pacer.time.perf_counter()  # type: ignore[attr-defined]
    assert made.wait_until(now + 0.02)
    assert pacer.time.perf_counter() - now > 0.015  # type: ignore[attr-defined]
    made.close()


def test_a_timerfd_that_cannot_be_opened_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    library: Any = Library(errno.EMFILE)
    monkeypatch.setattr(pacer.ctypes, "CDLL", lambda *args, **kwargs: library)  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="timerfd_create: Too many open files"):
        pacer.Pacer()


def test_machines_without_a_boot_id_do_not_share_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_session, "_boot_id", lambda: "")
    now = pacer.time.perf_counter()  # type: ignore[attr-defined]
    start = worker_session.start_message("run", now + 1.0)
    start["epoch"] += 0.5
    assert worker_session.epoch_of(start) == pytest.approx(now + 1.0, abs=0.4)


def test_cores_where_the_system_does_not_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sched_setaffinity")
    cores = os.cpu_count() or 1
    assert allowed_cores() == list(range(cores))
    assert this_environment().cores_allowed == cores
    assert cores_for(0, 1) == (0,)
    with pytest.raises(UsageError, match=r"cannot pin the server to cores 0 .*; leave out --cores-per-replica"):
        pin(os.getpid(), (0,))
