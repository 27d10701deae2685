"""A client-side balancer: each user's transport sends each request to one of several servers."""

from collections.abc import Sequence

from bench.load.transports.pool import Transport, TransportPool
from bench.serving.errors import ServingError
from bench.workload.balancing import Policy


class BalancedTransport:
    """One user's transports to all servers, and the policy that all users share.

    Args:
        transports: one for each server.
        policy: chooses among their indexes.
    """

    def __init__(self, transports: Sequence[Transport], policy: Policy) -> None:
        self._transports = transports
        self._policy = policy

    def exchange(self, body: bytes, timeout: float, traceparent: str | None = None) -> bytes:
        server = self._policy.choose()
        try:
            return self._transports[server].exchange(body, timeout, traceparent)
        finally:
            self._policy.leave_request(server)

    def close(self) -> None:
        for transport in self._transports:
            transport.close()


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

    def redacted(self, error: ServingError) -> ServingError:
        """The error of a request, without the values of the headers of any server."""
        for pool in self._pools:
            error = pool.redacted(error)
        return error

    def close(self) -> None:
        """Closes what the pools share."""
        for pool in self._pools:
            pool.close()
