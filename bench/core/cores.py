"""The processor cores that this process may run on."""

import os


def allowed_cores() -> list[int]:
    """Their numbers in order; all cores of the machine where the system does not say which."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))
