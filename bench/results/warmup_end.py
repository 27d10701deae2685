"""The warm-up that a run was found to have, from its records."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.core.types import Floats
from bench.core.units import format_seconds

LEAST_SECONDS: Final = 10.0
"""Shortest measured part of a run whose warm-up is looked for."""
_BINS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundWarmup:
    """Where latency, and in closed loop throughput, settle; times are seconds since the run began.

    Args:
        planned: the least warm-up.
        begins: start of the measured part: `planned`, or later where the run settles later.
        settled: whether both settle in the first half of the rest.
        before: typical latency from send of what was cut off after `planned`, seconds; None where nothing was.
        after: that of the measured part; None without enough requests.
    """

    planned: float
    begins: float
    settled: bool
    before: float | None
    after: float | None

    @property
    def note(self) -> str:
        """One line on what was found; "" where the planned warm-up is enough."""
        parts = []
        if self.begins > self.planned:
            levels = ""
            if self.before is not None and self.after is not None:
                levels = (
                    f", typical latency {format_seconds(self.before)} before and {format_seconds(self.after)} after"
                )
            parts.append(
                f"the run settles {format_seconds(self.begins)} after its start, and is measured from there instead of "
                f"{format_seconds(self.planned)}{levels}"
            )
        if not self.settled:
            parts.append("latency or throughput never settles: the measured part has no one level")
        return "; ".join(parts)


def find_warmup(due: Floats, latency: Floats, planned: float, ends: float, closed_loop: bool) -> FoundWarmup:
    """The warm-up of a run whose load is steady.

    Args:
        due: due times of the successful requests, seconds, in any order, `[N]`.
        latency: their latencies from send, seconds, `[N]`.
        planned: the least warm-up.
        ends: end of the measured part.
        closed_loop: whether the rate is the server's answer, so that it must settle too.
    """
    # Imported here: it loads scipy, which a process that sends does not.
    from bench.stats.settling import settling

    if ends - planned < LEAST_SECONDS:
        return FoundWarmup(planned=planned, begins=planned, settled=True, before=None, after=None)
    order = np.argsort(due, kind="stable")
    times = due[order]
    least = int(np.searchsorted(times, planned))
    found = settling(np.log(np.maximum(latency[order], 1e-9)), least)
    begins = planned if found.early is None else float(times[found.index])
    settled = found.settled
    if closed_loop:
        width = ends / _BINS
        counts = np.bincount((due / width).astype(np.int64), minlength=_BINS)[:_BINS]
        rate = settling(np.log(np.maximum(counts, 0.5)), math.ceil(planned / width))
        begins = max(begins, planned if rate.early is None else rate.index * width)
        settled = settled and rate.settled
    before, after = (None if level is None else math.exp(level) for level in (found.early, found.late))
    return FoundWarmup(planned=planned, begins=begins, settled=settled, before=before, after=after)
