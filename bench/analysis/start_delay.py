"""How late requests are sent, and whose doing that is: the server's, while all users wait, or the load generator's.

Users are a pool. A request that is due while each of them waits for a response is sent as soon as one is free: the
server is slower than the rate, and latency from the due time has that wait. A request that is sent late although a user
was free was delayed by the load generator, which distorts the latency.
"""

from typing import Final

import numpy as np

from bench.analysis.check import Limit
from bench.analysis.measured import Measured
from bench.core.types import Floats
from bench.core.units import format_percent
from bench.stats.percentiles import nearest_rank

START_DELAY: Final = 0.005
"""Largest p99 of `sent - due`, seconds: about the scheduling delay on a busy two-core machine..."""
START_DELAY_FRACTION: Final = 0.1
"""...or this fraction of the median latency from due, if larger."""


def start_delay_limit(typical: float) -> Limit:
    """The largest p99 of the start delay of a run whose median latency from due is `typical`, seconds."""
    return Limit.widest(
        Limit(START_DELAY, "the scheduling delay of a busy machine"),
        Limit(START_DELAY_FRACTION * typical, f"{format_percent(START_DELAY_FRACTION)} of the median latency"),
    )


def own_delays(due: Floats, sent: Floats, done: Floats, users: int) -> Floats:
    """How long each request that was sent waited although a user was free, seconds, `[M]`, in the order of `sent`.

    Args:
        due: seconds, `[N]`.
        sent: seconds, NaN where never.
        done: seconds, NaN where never.
        users: size of the pool that sent them.
    """
    went = ~np.isnan(sent)
    order = np.argsort(sent[went], kind="stable")
    # The user that sends the request k + `users` is the one that was free as the k-th: each sends one at a time.
    freed = np.concatenate((np.full(users, -np.inf), np.sort(done[went])))[: order.size]
    return np.asarray(np.maximum(sent[went][order] - np.maximum(due[went][order], freed), 0.0))


def late_by(delays: Floats) -> float:
    """The p99 of delays, seconds; 0 without any."""
    return nearest_rank(delays, [0.99])[0] if delays.size else 0.0


def users_waited(measured: Measured, users: int, limit: Limit) -> bool:
    """Whether requests that were sent late by more than `limit` were so because all `users` waited for responses."""
    before = measured.warmup_in_flight
    due, sent, done = (
        np.concatenate(times)
        for times in ((before.sent, measured.due), (before.sent, measured.sent), (before.done, measured.done))
    )
    return late_by(own_delays(due, sent, done, users)) <= limit.value


def all_waiting(users: int) -> str:
    """`all 64 users were waiting for responses`."""
    was = "user was waiting for a response" if users == 1 else "users were waiting for responses"
    return f"all {users:,} {was}"
