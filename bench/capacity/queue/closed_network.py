"""Throughput of a server in closed loop, from the parameters of its queue model.

N users send, wait for the answer, and send again; outside the server a request spends `overhead`. The number of
requests in the server is then a birth and death process (the machine repairman model with load-dependent rates;
G. Bolch et al., *Queueing Networks and Markov Chains*, 2nd edition, 2006, section 6.3). The result is exact for
exponential overhead and work. It is exact for any work with at most `servers` users, or without overhead. In the other
cases it is close, because the overhead is a small part of a request.
"""

from collections.abc import Sequence

import numpy as np

from bench.core.types import Floats


def closed_network_throughput(users: Sequence[int], speeds: Floats, work: float, overhead: float) -> Floats:
    """Throughput of closed loops, requests/s, one value for each number of users.

    Args:
        users: numbers of users, each 1 or more.
        speeds: work per second with 1, 2, ..., c requests in service; further requests wait.
        work: mean work of a request, seconds.
        overhead: time of each request outside the server, seconds.
    """
    most = max(users)
    rate = np.concatenate((speeds, np.full(max(most - speeds.size, 0), speeds[-1])))[:most] / work
    if overhead <= 1e-9 * work:
        return np.asarray(rate[np.asarray(users) - 1])
    found = np.empty(len(users))
    steps = -np.log(rate * overhead)
    for index, count in enumerate(users):
        # Weight of j requests in the server relative to none: the product of (users outside / overhead) / rate.
        logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(count, 0, -1.0)) + steps[:count])))
        weights = np.exp(logs - logs.max())
        found[index] = float(weights[1:] @ rate[:count] / weights.sum())
    return found
