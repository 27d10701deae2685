"""Checks that an open loop had the load that was asked for: the rate that was sent, and the backlog."""

import math
from typing import Final

import numpy as np

from bench.analysis.check import Behind, Check, Limit
from bench.analysis.measured import Measured
from bench.core.types import Floats
from bench.core.units import format_apart, format_number, format_percent, format_seconds

ACHIEVED_RATE: Final = 0.99
"""Smallest fraction of the requests due in the measured part that were sent in it; one may always be missing, which is
due just before the end. One that is missing for another reason is late, or dropped, by more than those checks allow."""
BACKLOG_FACTOR: Final = 3.0
"""Ratio of the requests open at the end to the mean in the first half above which the server falls behind..."""
BACKLOG_FRACTION: Final = 0.03
"""...if at least this fraction of all due requests is open at the end..."""
BACKLOG_LEAST: Final = 10
"""...and at least this many: smaller numbers vary by chance."""
_MOMENTS: Final = 20
_MOST_MOMENTS: Final = 2000


def achieved(measured: Measured) -> Check:
    """Checks that requests were sent at the rate at which they were due."""
    count = int(measured.due.size)
    sent_in_time = int((measured.sent < measured.ends).sum())
    due, fraction, least = count / measured.seconds, sent_in_time / count, min(ACHIEVED_RATE, 1 - 1 / count)
    passed = fraction >= ACHIEVED_RATE or count - sent_in_time <= 1
    shown, limit = format_apart(fraction, least, format_percent)
    reason = "with fewer, another load was measured"
    text = f"{format_number(fraction * due)} of the {format_number(due)} requests/s due were sent in time, {shown}, "
    text += f"{'at least' if passed else 'below'} the limit of {limit} ({reason})"
    return Check("achieved rate", passed, text, fraction, least, reason, Behind.EFFECT)


def backlog(measured: Measured, even: bool, every: float | None = None) -> Check:
    """Checks that the requests that are due and not answered do not become more and more.

    Args:
        measured: the records.
        even: whether the rate is the same throughout, the warm-up included.
        every: seconds between bursts of the rate; None where it has none.
    """
    early, late = _early_and_late(measured, every)
    when = "at the end" if every is None else f"at the least in the last {format_seconds(every)}"
    few = Limit.widest(
        Limit(BACKLOG_LEAST, "smaller numbers vary by chance"),
        Limit(BACKLOG_FRACTION * measured.due.size, f"{format_percent(BACKLOG_FRACTION)} of the requests due"),
    )
    times = format_number(BACKLOG_FACTOR)
    limit = Limit.widest(few, Limit(BACKLOG_FACTOR * early, f"{times} times the mean of the first half"))
    if even and measured.warmup_open.size:
        # A server that fell behind in a long warm-up has no three times as many open at the end of what follows.
        whole = _first_half_of_all(measured)
        reason = f"{times} times {format_number(whole)}, the mean of the first half with the warm-up"
        limit = min(limit, Limit.widest(few, Limit(BACKLOG_FACTOR * whole, reason)), key=lambda entry: entry.value)
    text = f"{{}} requests open {when}, {format_number(early)} on average in the first half"
    advice = ": the server falls behind this rate, so latency grows with the duration"
    return limit.check("backlog", late, text, format_number, advice, Behind.SIGN)


def _early_and_late(measured: Measured, every: float | None) -> tuple[float, float]:
    """Open requests on average in the first half, and at the end; with bursts the least of a period before each moment.

    A queue is the purpose of a burst, and a run may end with one: what counts is whether it was worked off.
    """
    if every is None:
        moments = np.linspace(measured.begins, measured.begins + measured.seconds / 2, _MOMENTS)
        return float(_open_at(measured, moments).mean()), float(_open_at(measured, np.array([measured.ends]))[0])
    count = min(math.ceil(_MOMENTS * measured.seconds / every), _MOST_MOMENTS) + 1
    open_ = _open_at(measured, np.linspace(measured.begins, measured.ends, count))
    period = min(max(round(every / measured.seconds * count), 1), count)
    before = np.pad(open_, (period - 1, 0), constant_values=np.inf)
    least = np.lib.stride_tricks.sliding_window_view(before, period).min(axis=1)
    return float(least[: (count + 1) // 2].mean()), float(least[-1])


def _open_at(measured: Measured, moments: Floats) -> Floats:
    """Requests due and not answered at moments of the measured part, those of the warm-up too."""
    went, before = ~np.isnan(measured.sent), measured.warmup_in_flight
    due = np.sort(np.concatenate((before.sent, measured.due[went])))
    done = np.sort(np.concatenate((before.done, measured.done[went])))
    open_ = np.searchsorted(due, moments, side="right") - np.searchsorted(done, moments, side="right")
    return open_.astype(np.float64)


def _first_half_of_all(measured: Measured) -> float:
    """Mean number of open requests in the first half of a run with its warm-up."""
    size = measured.warmup_open.size
    after = np.linspace(measured.begins, measured.ends, size)
    times = np.concatenate((np.linspace(0.0, measured.begins, size, endpoint=False), after))
    counts = np.concatenate((measured.warmup_open, _open_at(measured, after)))
    return float(np.interp(np.linspace(0.0, measured.ends / 2, 2 * size), times, counts).mean())
