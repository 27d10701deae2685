"""Ends what a process has started when that process is killed: a signal that it cannot catch leaves it no time.

A guardian is a small process that waits for the end of a pipe whose other end its owner holds. When the owner dies,
in whatever way, the pipe closes, and the guardian removes the container or ends the process group that was named on
it. It is detached from its owner, so that neither a terminal's signals nor the owner's kill reach it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

ASKED: Final = "asked"
"""The creation of the container is asked for now: one that is not there may come."""
MADE: Final = "made"
"""The container is there: one that is not found from now on is gone."""
_DONE: Final = "done"
# An Engine goes on with a creation whose client has died, and has the container only at its end.
_CREATION_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.5


@contextlib.contextmanager
def guarded(kind: str, name: str) -> Iterator[Callable[[str], None]]:
    """Has a container removed, or a process group ended, should this process die inside the context.

    Args:
        kind: `container` or `group`.
        name: the container's name, or the group's id.

    Yields:
        Tells the guardian how far the container is, `ASKED` and then `MADE`: it waits only for one that may come.
    """
    # Not -I: the packages may lie where only the user's site or PYTHONPATH says. This file's folder has none of them.
    command = [sys.executable, "-P", str(Path(__file__)), kind, name]
    # It leaves at once: its child, which is nobody's, waits.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        owned = process.stdin

        def tell(stage: str) -> None:
            with contextlib.suppress(BrokenPipeError):
                owned.write(stage)
                owned.flush()

        try:
            yield tell
        finally:
            with contextlib.suppress(BrokenPipeError):
                owned.write(_DONE)
                owned.close()


def _wait(kind: str, name: str, owner: IO[str]) -> None:
    """Waits until the owner is done or dead, and cleans up after a dead one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    said = owner.read()
    if said.endswith(_DONE):
        return
    if kind == "group":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(int(name), signal.SIGKILL)
        return
    if said:
        _remove(name, made=said.endswith(MADE))


def _remove(container: str, made: bool) -> None:
    """Removes a container; one that was not `made` yet as soon as it is there."""
    import docker
    from docker.errors import DockerException, NotFound

    end = time.monotonic() + _CREATION_SECONDS
    while time.monotonic() < end:
        try:
            docker.from_env().containers.get(container).remove(force=True, v=True)
        except NotFound:
            if made:
                return
        except (DockerException, OSError):
            # The Engine may answer again.
            pass
        else:
            return
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    if os.fork() == 0:
        _wait(sys.argv[1], sys.argv[2], sys.stdin)
