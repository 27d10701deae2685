"""Throughput of a queue_model in closed loop, from its parameters.

N users send, wait for the answer, and send again; outside the server a request spends only `overhead`. The number in
the server is then a birth and death process (the machine repairman with load-dependent rates; G. Bolch et al.,
*Queueing Networks and Markov Chains*, 2nd edition, 2006, section 6.3). Exact for exponential overhead and work, and for
any work while at most `servers` users are there or while the overhead is 0; the overhead is a small part of a request,
so the rest is close.
"""

from collections.abc import Sequence

import numpy as np

from bench.core.types import Floats


def closed_network_throughput(users: Sequence[int], speeds: Floats, work: float, overhead: float) -> Floats:
    """Requests a second of 1 or more users, one figure for each number of them.

    Args:
        users: numbers of users.
        speeds: work a second with 1, 2, ..., c requests in service; more wait.
        work: mean work of a request, seconds.
        overhead: seconds of each request outside the queue_model.
    """
    most = max(users)
    rate = np.concatenate((speeds, np.full(max(most - speeds.size, 0), speeds[-1])))[:most] / work
    if overhead <= 1e-9 * work:
        return np.asarray(rate[np.asarray(users) - 1])
    found = np.empty(len(users))
    steps = -np.log(rate * overhead)
    for index, count in enumerate(users):
        # Weight of j in the queue_model over that of none: the product of (users outside / overhead) / rate.
        logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(count, 0, -1.0)) + steps[:count])))
        weights = np.exp(logs - logs.max())
        found[index] = float(weights[1:] @ rate[:count] / weights.sum())
    return found
