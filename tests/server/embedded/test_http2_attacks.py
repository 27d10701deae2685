"""The published attacks on HTTP/2, in memory: each ends its connection soon, or costs no more than the limits allow."""

from collections.abc import Iterator
from functools import partialmethod
from itertools import islice

import pytest

from bench.server.embedded.base.status import StatusError
from bench.server.embedded.grpc.protocol import OPEN_CALL_BYTES, GrpcLimits, GrpcProtocol
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.net.connection import CloseConnectionError
from bench.serving.http2.frames import GOAWAY, PREFACE, SETTINGS, FrameReader, frame
from bench.serving.http2.limits import Allowance
from benchmarks.fuzz.http2_attacks import ATTACKS

LIMIT = 1 << 20
ANSWER = bytes(4000)
# Those that are not told from a client that asks a lot.
UNENDED = {
    *("unread_answers", "large_table", "unfinished_bodies", "packed_bombs", "surplus_values"),
    "unfinished_calls",
}


class Methods:
    """Answers that are larger than their requests; one method is a stream."""

    def knows(self, method: str) -> bool:
        return not method.endswith("nope")

    def is_streaming(self, method: str) -> bool:
        return method.endswith("Watch")

    def is_brief(self, method: str) -> bool:
        return self.is_streaming(method)

    def closing_message(self, method: str) -> bytes:
        return b""

    def handle(self, method: str, message: bytes, caller: Caller) -> bytes:
        assert len(message) <= LIMIT
        return ANSWER


class Counter:
    """A connection whose client takes all bytes; the last are kept."""

    unsent = 0
    owed_since: float | None = None

    def __init__(self) -> None:
        self.sent = 0

    def send(self, data: bytes) -> None:
        self.sent += len(data)


def parts(name: str) -> Iterator[bytes]:
    """An attack, up to some megabytes."""
    frames = ATTACKS[name]()
    total, most = 0, (1 if name in UNENDED else 16) << 20
    while total < most and (part := b"".join(islice(frames, 100))):
        total += len(part)
        yield part


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In no time, so that a busy machine does not make the flood a slow one, which is allowed."""
    monkeypatch.setattr(Allowance, "__init__", partialmethod(Allowance.__init__, clock=lambda: 0.0))
    connection = Counter()
    protocol = GrpcProtocol(connection, Methods(), GrpcLimits(LIMIT, LIMIT))  # type: ignore[arg-type]
    protocol.received(PREFACE + frame(SETTINGS, 0, 0, b""))
    received = 0
    try:
        for part in parts(name):
            received += len(part)
            for job in protocol.received(part):
                assert job.run()
            # Bodies, and calls with answers that wait for the client's windows.
            assert protocol.held() <= LIMIT + 1000 * (OPEN_CALL_BYTES + len(ANSWER) + 5)
            assert len(protocol._calls) <= 1000
    except CloseConnectionError as error:
        assert name not in UNENDED
        reader = FrameReader()
        reader.feed(error.closing_message)
        assert [kind for kind, *_ in reader.frames()][-1] == GOAWAY
    except StatusError:
        pytest.fail("an error of a call ended its thread")
    else:
        assert name in UNENDED
    assert received > 0
