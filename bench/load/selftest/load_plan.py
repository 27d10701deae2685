"""The load-generating machines that a rate needs, from the measured ceiling of one process."""

import math
from dataclasses import dataclass

from bench.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Workers and machines for a rate.

    Args:
        ceiling: requests/s of one process against a null server.
        workers: processes, each with a core of its own.
        cores: cores of all machines that are in use: the workers' and the master's.
        machines: number of machines.
        utilization: the rate as a fraction of the workers' ceilings.
    """

    ceiling: float
    workers: int
    cores: int
    machines: int
    utilization: float


def plan_load(rate: float, ceiling: float, share: float, cores: int) -> LoadPlan:
    """The plan for a rate.

    A worker is one process and uses one core at most; the master has a core of its own. A machine's last core is left
    to its kernel, whose network work grows with the rate, unless it has only one or two.

    Args:
        rate: requests/s, above 0.
        ceiling: requests/s of one process, above 0.
        share: the fraction of the ceiling that a worker is to be used to, above 0, at most 1.
        cores: logical cores of each machine.

    Raises:
        UsageError: the machines have fewer cores than 1.
    """
    if cores < 1:
        raise UsageError(f"a machine has 1 core or more, not {cores}")
    # Ratios such as 9/(0.9·10) exceed a whole number by rounding.
    workers = math.ceil(rate / (ceiling * share) * (1 - 1e-12))
    usable = cores if cores <= 2 else cores - 1
    needed = workers + 1
    return LoadPlan(ceiling, workers, needed, math.ceil(needed / usable), rate / (ceiling * workers))
