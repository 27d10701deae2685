"""A client-side balancer: every user's transport goes to several servers, one request at a time to one of them."""

from collections.abc import Sequence

from bench.load.transports.pool import Transport, TransportPool
from bench.workload.policies import Policy


class BalancedTransport:
    """One user's ways to all servers, and the policy that all users share.

    Args:
        ways: a transport to each server.
        policy: chooses among their indexes.
    """

    def __init__(self, ways: Sequence[Transport], policy: Policy) -> None:
        self._ways = ways
        self._policy = policy

    def exchange(self, body: bytes, timeout: float) -> bytes:
        server = self._policy.choose()
        try:
            return self._ways[server].exchange(body, timeout)
        finally:
            self._policy.leave_request(server)

    def close(self) -> None:
        for way in self._ways:
            way.close()


class BalancedPool:
    """Makes users' transports to several servers.

    Args:
        pools: one for each server.
        policy: chooses for all users; the servers are attached to it here.
    """

    def __init__(self, pools: Sequence[TransportPool], policy: Policy) -> None:
        self._pools = pools
        self._policy = policy
        for server in range(len(pools)):
            policy.attach(server)

    def make(self, protocol: str) -> Transport:
        """A transport for one user."""
        return BalancedTransport([pool.make(protocol) for pool in self._pools], self._policy)

    def close(self) -> None:
        """Closes what the pools share."""
        for pool in self._pools:
            pool.close()
