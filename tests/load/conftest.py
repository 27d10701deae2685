"""What the tests of the load generator clean up."""

from collections.abc import Iterator

import pytest

from bench.load.transports.pool import Transport, TransportPool


@pytest.fixture(autouse=True)
def _transports_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes what a test's pools made, so that no connection is left to the garbage collector."""
    made: list[Transport | TransportPool] = []
    make = TransportPool.make

    def noted(pool: TransportPool, protocol: str) -> Transport:
        transport = make(pool, protocol)
        made.extend((transport, pool))
        return transport

    monkeypatch.setattr(TransportPool, "make", noted)
    yield
    for each in made:
        each.close()
