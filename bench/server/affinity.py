"""Pins a server on this machine to some of the cores."""

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

from bench.core.cores import allowed_cores
from bench.core.errors import UsageError, in_words


def pin(pid: int, cores: Collection[int]) -> None:
    """Pins all present and future threads of process `pid` to `cores`. Linux only.

    A new thread inherits the cores of its creator; the loop ends when no thread is new.

    Raises:
        UsageError: the system does not allow it, or has no such cores.
    """
    done: set[str] = set()
    try:
        while threads := {entry.name for entry in Path(f"/proc/{pid}/task").iterdir()} - done:
            for thread in threads:
                # One that has just ended; the others are still to be pinned.
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread), cores)
            done |= threads
    except ProcessLookupError:
        # The process itself has just ended, which whoever waits for it reports.
        return
    except (AttributeError, OSError) as error:
        names = ",".join(map(str, sorted(cores)))
        raise UsageError(
            f"cannot pin the server to cores {names} ({in_words(error)}); leave out --cores-per-replica"
        ) from error


def cores_for(replica: int, each: int) -> tuple[int, ...]:
    """The cores of replica number `replica`, of `each` cores per replica.

    Raises:
        UsageError: this process may use fewer cores.
    """
    allowed = allowed_cores()
    mine = tuple(allowed[replica * each : (replica + 1) * each])
    if len(mine) < each:
        raise UsageError(
            f"{replica + 1} replicas of {each} cores need more than the {len(allowed)} available cores; give fewer"
        )
    return mine
