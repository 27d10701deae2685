"""The file descriptors of a load-generating process: each of its connections takes one."""

from typing import Final

import psutil

from bench.core.errors import UsageError

_SPARE: Final = 32
"""What a process opens beside its connections, or for a moment: timer, samples, the run's files, libraries."""


def make_room(users: int, connections: int) -> None:
    """Raises the process's limit of open files as far as its part of a run needs, and the system allows.

    Args:
        users: that it runs.
        connections: the most that they have at a time.

    Raises:
        UsageError: the system does not allow as many; connections would fail, and count as the server's failures.
    """
    # Here, since Windows, which is refused in words, is without it.
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _open_now(soft) + connections + _SPARE
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    most = hard
    if hard == resource.RLIM_INFINITY or needed <= hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            return
        except (OSError, ValueError):
            # Some systems allow less than they say.
            most = soft
    raise UsageError(
        f"{users:,} users in one process need {needed:,} open files, and the limit is {most:,}; raise it (ulimit -n), "
        "or give fewer users"
    )


def _open_now(limit: int) -> int:
    try:
        return psutil.Process().num_fds()
    except OSError:
        # All are in use, so that not even their list can be opened.
        return limit
