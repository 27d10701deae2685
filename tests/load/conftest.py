"""What the tests of the load generator clean up."""

from collections.abc import Iterator

import pytest

from bench.load.transports import Transport, TransportPool


@pytest.fixture(autouse=True)
def _transports_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes what a test's pools made, so that no socket is left to the garbage collector."""
    made: list[Transport] = []
    make = TransportPool.make

    def noted(pool: TransportPool, protocol: str) -> Transport:
        made.append(make(pool, protocol))
        return made[-1]

    monkeypatch.setattr(TransportPool, "make", noted)
    yield
    for transport in made:
        transport.close()
