"""What a killed process has started ends with it."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from bench.server.guardian import guarded
from tests.support.fake_engine import FakeEngine, fake_engine
from tests.support.locust_process import wait_for

# Starts a process in a group of its own, has it guarded, and says who it is.
OWNER = """
import subprocess, sys, time
from bench.server.guardian import guarded
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
with guarded("group", str(child.pid)):
    print(child.pid, flush=True)
    sys.stdin.read()
child.kill()
"""


def start() -> tuple["subprocess.Popen[str]", int]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


# Has a container guarded that it never creates itself.
CONTAINER_OWNER = """
import sys
from bench.server.guardian import ASKED, MADE, guarded
with guarded("container", sys.argv[1]) as tell:
    for stage in (ASKED, MADE)[:int(sys.argv[1][-1])]:
        tell(stage)
    print("guarded", flush=True)
    sys.stdin.read()
"""


def kill_container_owner(container: str = "bertbench-1") -> None:
    command = [sys.executable, "-c", CONTAINER_OWNER, container]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"guarded\n"
        os.killpg(owner.pid, signal.SIGKILL)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_the_group_of_a_killed_owner_ends() -> None:
    owner, pid = start()
    with owner:
        os.killpg(owner.pid, signal.SIGKILL)
    assert wait_for(lambda: gone(pid), 30)


def test_an_owner_whose_guardian_was_killed_ends_as_usual() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        before = {process.pid for process in psutil.process_iter()}
        with guarded("group", str(child.pid)):
            for process in psutil.process_iter(["cmdline"]):
                words = process.info["cmdline"] or []
                if process.pid not in before and words[-2:] == ["group", str(child.pid)]:
                    process.kill()
                    assert wait_for(partial(gone, process.pid), 30)
        child.kill()


def test_an_owner_that_ends_by_itself_leaves_the_rest_to_itself() -> None:
    """Its guardian ends without a signal to a group whose number may be another's by then."""
    owner, pid = start()
    with owner:
        owner.communicate("")
    assert owner.returncode == 0
    assert wait_for(lambda: gone(pid), 30)
    time.sleep(0.1)


def test_a_container_that_the_engine_creates_after_the_kill_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Engine goes on with a creation whose client has died: at first there is nothing to remove."""
    engine = FakeEngine(absent=2)
    with fake_engine(engine, tmp_path) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        kill_container_owner()
        assert wait_for(lambda: engine.removed == 1, 30)


@pytest.mark.parametrize("container", ["bertbench-of-stage-0", "bertbench-of-stage-2"])
def test_a_container_that_was_never_asked_for_or_is_gone_is_not_waited_for(
    container: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waiting() -> bool:
        words = (one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"]))
        return any(line[-2:] == ["container", container] for line in words)

    with fake_engine(FakeEngine(absent=10**6), tmp_path) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        kill_container_owner(container)
        # It would look for the container for a minute, as it does for one that is being created.
        assert wait_for(lambda: not waiting(), 30)


def test_the_guardian_finds_packages_where_its_owner_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install --target` and `--user` put Docker's client where only PYTHONPATH or the user's site says."""
    package, seen = tmp_path / "docker", tmp_path / "seen"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"import pathlib\ndef from_env():\n    pathlib.Path({str(seen)!r}).touch()\n    raise OSError\n"
    )
    (package / "errors.py").write_text(
        "class DockerException(Exception): pass\nclass NotFound(DockerException): pass\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    kill_container_owner()
    assert wait_for(seen.exists, 30)
