"""Little's law as a check of a run: N = X·R, the users or the requests in flight against the time that was recorded.

In closed loop N users are each waiting for a response or thinking, and what is missing of their time passed in the
client. In open loop N requests are in flight, which the workers sample each second.

The law is exact for any span of time if each request counts with that part of its time which lies in it (J. Little,
*Little's law as viewed on its 50th anniversary*, Operations Research 59, 2011). Without the requests that are under way
at its ends, N would be missed by about R / T of a run of T seconds, however well the server and the client do.
"""

from typing import Final

import numpy as np

from bench.analysis.check import Check, Limit
from bench.analysis.measured import Measured, free_again
from bench.analysis.users import UsersPresent
from bench.core.types import Floats
from bench.core.units import format_number, format_percent, pluralize
from bench.results.run_reader import Run
from bench.workload.arrivals import ClosedLoop

LITTLE_RESIDUAL: Final = 0.1
"""Largest relative residual of N = X (R + Z): in closed loop the fraction of the users' time spent in the client."""
LITTLE_MIN_SAMPLES: Final = 10
"""Fewest samples of the requests in flight for their mean."""


def check_little(run: Run, measured: Measured, samples: dict[str, Floats], users: UsersPresent | None) -> Check:
    """Checks that N = X·R.

    Args:
        run: the run.
        measured: its records, with a measured part.
        samples: those of the load generator in it.
        users: its users, where they were sampled.
    """
    arrivals = run.manifest.stored_arrivals
    # A gauge sampled once a second does not resolve fractions of a request.
    limits = [Limit(0.5, "half a request")]
    if isinstance(arrivals, ClosedLoop):
        present = users.mean if users is not None else float(arrivals.users)
        recorded = _time_of_users(measured, arrivals.think) / measured.seconds
    else:
        moments, in_flight = _total_in_flight(samples)
        if in_flight.size < LITTLE_MIN_SAMPLES:
            return Check(
                "N = X·R", None, "too few samples of the requests in flight, so Little's law (N = X·R) is not checked"
            )
        present, recorded = float(in_flight.mean()), _mean_at(measured, moments)
        slack = 3 * float(in_flight.std(ddof=1)) / in_flight.size**0.5
        limits.append(Limit(slack, f"three standard errors of {pluralize(in_flight.size, 'sample')} of N"))
    if not present:
        return Check("N = X·R", True, "nothing was in flight")
    limit = Limit.widest(Limit(LITTLE_RESIDUAL * present, f"{format_percent(LITTLE_RESIDUAL)} of N"), *limits)
    text = f"N = X·R is off by {{}} of N = {format_number(present)}"
    relative = Limit(limit.value / present, limit.reason)
    return relative.check("N = X·R", abs(present - recorded) / present, text, format_percent)


def _time_of_users(measured: Measured, think: float) -> float:
    """Seconds of the measured part in which users waited for a response or were thinking, over all users."""
    went = ~np.isnan(measured.sent)
    starts = np.concatenate((np.full(measured.warmup_free.size, measured.begins), measured.due[went]))
    free = free_again(measured.done[went], measured.outcome[went], think)
    ends = np.concatenate((measured.warmup_free, free))
    return float((np.clip(ends, measured.begins, measured.ends) - np.minimum(starts, measured.ends)).sum())


def _total_in_flight(samples: dict[str, Floats]) -> tuple[Floats, Floats]:
    """Moments and requests in flight of all workers, for each second in which every worker was sampled."""
    known = ~np.isnan(samples["in_flight"])
    if not known.any():
        return np.empty(0), np.empty(0)
    workers = np.unique(samples["worker"][known])
    seconds = np.floor(samples["time"][known] + 0.5).astype(np.int64)
    whole = np.bincount(seconds) == workers.size
    times, totals = (np.bincount(seconds, samples[name][known])[whole] for name in ("time", "in_flight"))
    return times / workers.size, np.asarray(totals)


def _mean_at(measured: Measured, moments: Floats) -> float:
    """Mean number of requests in flight at these moments by the records.

    Not over the whole time: requests of a constant rate come at the same fractions of each second, so samples of each
    second see the same part of them.
    """
    went, before = ~np.isnan(measured.sent), measured.warmup_in_flight
    sent, done = (
        np.sort(np.concatenate(times))
        for times in ((before.sent, measured.sent[went]), (before.done, measured.done[went]))
    )
    at = np.searchsorted(sent, moments, side="right") - np.searchsorted(done, moments, side="right")
    return float(at.mean())
