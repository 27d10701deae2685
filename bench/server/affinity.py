"""Keeping a server that runs on this machine to some of its cores."""

import os
from collections.abc import Collection
from pathlib import Path

from bench.core.errors import UsageError, in_words


def pin(pid: int, cores: Collection[int]) -> None:
    """Lets all threads of process `pid`, those to come too, run on `cores` only. Linux.

    A thread that begins inherits its maker's cores, so that threads are gone through until none is new.

    Raises:
        UsageError: the system or its administrator does not let us, or there are no such cores.
    """
    done: set[str] = set()
    try:
        while threads := {entry.name for entry in Path(f"/proc/{pid}/task").iterdir()} - done:
            for thread in threads:
                os.sched_setaffinity(int(thread), cores)
            done |= threads
    except ProcessLookupError:
        # A thread that ended meanwhile; those that are left were made by pinned ones.
        return
    except (AttributeError, OSError) as error:
        names = ",".join(map(str, sorted(cores)))
        raise UsageError(
            f"the server cannot be kept to cores {names} ({in_words(error)}); leave --cores-per-replica"
        ) from error


def cores_for(replica: int, each: int) -> tuple[int, ...]:
    """The cores of one of several replicas of `each` cores.

    Raises:
        UsageError: this process may not use so many cores.
    """
    allowed = sorted(os.sched_getaffinity(0))
    mine = tuple(allowed[replica * each : (replica + 1) * each])
    if len(mine) < each:
        raise UsageError(
            f"{replica + 1} replicas of {each} cores do not fit on the {len(allowed)} cores here; give fewer"
        )
    return mine
