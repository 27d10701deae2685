"""What a killed process has started ends with it."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil

from bench.server.guardian import guarded
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
