"""HTTP/2 on the server's side: frames in, events and frames out."""

import struct
from collections.abc import Callable

import pytest

from bench.serving.http2.frames import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    H2Error,
    frame,
)
from bench.serving.http2.hpack import encode
from bench.serving.http2.limits import Allowance, ServerLimits
from bench.serving.http2.server import Completed, Opened, Reset, ServerConnection, TooLarge

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
FIELDS = [(b":path", b"/a"), (b"x", b"y")]
BLOCK = encode(FIELDS)
WHOLE = frame(HEADERS, END_HEADERS | END_STREAM, 1, BLOCK)


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each frame."""
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", data, at + 3)
        found.append((kind, flags, stream, bytes(data[at + 9 : at + 9 + size])))
        at += 9 + size
    return found


def take(connection: ServerConnection) -> list[tuple[int, int, int, bytes]]:
    sent = frames(bytes(connection.out))
    connection.out.clear()
    return sent


@pytest.fixture
def connection() -> ServerConnection:
    """A connection whose greetings are over."""
    made = ServerConnection()
    assert made.receive(PREFACE + frame(SETTINGS, 0, 0, b"")) == []
    kinds = [(kind, flags) for kind, flags, _, _ in take(made)]
    assert kinds == [(SETTINGS, 0), (WINDOW_UPDATE, 0), (SETTINGS, ACK)]
    return made


def opened(connection: ServerConnection, stream: int = 1) -> None:
    connection.receive(frame(HEADERS, END_HEADERS | END_STREAM, stream, BLOCK))


def test_a_request(connection: ServerConnection) -> None:
    data = frame(HEADERS, END_HEADERS, 1, BLOCK) + frame(DATA, 0, 1, b"ab") + frame(DATA, END_STREAM, 1, b"c")
    events = [event for byte in data for event in connection.receive(bytes([byte]))]
    assert events == [Opened(1, FIELDS), Completed(1, b"abc")]
    assert connection.open_streams == 1


def test_headers_in_parts_with_padding_and_priority(connection: ServerConnection) -> None:
    head = b"\x03" + b"prior" + BLOCK[:4] + b"pad"
    events = connection.receive(frame(HEADERS, PADDED | PRIORITY, 1, head))
    events += connection.receive(frame(CONTINUATION, 0, 1, BLOCK[4:6]))
    events += connection.receive(frame(CONTINUATION, END_HEADERS, 1, BLOCK[6:]))
    events += connection.receive(frame(DATA, PADDED | END_STREAM, 1, b"\x02ab??"))
    assert events == [Opened(1, FIELDS), Completed(1, b"ab")]


def test_trailers_complete_a_request(connection: ServerConnection) -> None:
    events = connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK) + frame(DATA, 0, 1, b"ab"))
    events += connection.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, encode([(b"t", b"")])))
    assert events == [Opened(1, FIELDS), Completed(1, b"ab")]


def test_an_answer(connection: ServerConnection) -> None:
    opened(connection)
    connection.respond(1, b"H", b"body", b"T")
    assert take(connection) == [
        (HEADERS, END_HEADERS, 1, b"H"),
        (DATA, 0, 1, b"body"),
        (HEADERS, END_HEADERS | END_STREAM, 1, b"T"),
    ]
    assert connection.open_streams == 0


def test_an_answer_before_the_request_is_there_ends_it(connection: ServerConnection) -> None:
    connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK))
    connection.respond(1, b"", b"", b"T")
    assert take(connection) == [
        (HEADERS, END_HEADERS | END_STREAM, 1, b"T"),
        (RST_STREAM, 0, 1, b"\0\0\0\0"),
    ]
    assert connection.receive(frame(DATA, END_STREAM, 1, b"late")) == []


def test_an_answer_that_goes_on(connection: ServerConnection) -> None:
    opened(connection)
    connection.begin(1, b"H", b"first")
    connection.respond(1, b"", b"last", b"T")
    assert [payload for _, _, _, payload in take(connection)] == [b"H", b"first", b"last", b"T"]


def test_answers_keep_to_both_windows_and_to_the_frame_size(connection: ServerConnection) -> None:
    settings = struct.pack(">HIHI", 4, 30000, 5, 16384)
    connection.receive(frame(SETTINGS, 0, 0, settings))
    opened(connection, 1)
    opened(connection, 3)
    take(connection)
    connection.respond(1, b"H", b"a" * 50000, b"T")
    assert [len(payload) for kind, _, _, payload in take(connection) if kind == DATA] == [16384, 30000 - 16384]
    # 35535 bytes of the connection's first 65535 are left.
    connection.respond(3, b"H", b"b" * 10000, b"T")
    assert sum(len(payload) for kind, _, _, payload in take(connection) if kind == DATA) == 10000
    connection.receive(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 100000)))
    sent = take(connection)
    assert [stream for kind, _, stream, _ in sent if kind == DATA] == [1, 1]
    assert sent[-1] == (HEADERS, END_HEADERS | END_STREAM, 1, b"T")
    opened(connection, 5)
    connection.respond(5, b"H", b"c" * 10000, b"T")
    assert sum(len(payload) for kind, _, _, payload in take(connection) if kind == DATA) == 5535
    connection.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 100000)))
    assert take(connection)[-1] == (HEADERS, END_HEADERS | END_STREAM, 5, b"T")


def test_a_window_that_shrinks_and_grows_by_settings(connection: ServerConnection) -> None:
    opened(connection)
    connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    take(connection)
    connection.respond(1, b"H", b"body", b"T")
    assert [kind for kind, _, _, _ in take(connection)] == [HEADERS]
    connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 3)))
    assert [payload for kind, _, _, payload in take(connection) if kind == DATA] == [b"bod"]
    connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 100)))
    assert [payload for kind, _, _, payload in take(connection) if kind == DATA] == [b"y"]


def test_the_clients_window_is_opened_again(connection: ServerConnection) -> None:
    connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK))
    for _ in range(16):
        connection.receive(frame(DATA, 0, 1, bytes(1 << 20)))
    assert take(connection) == [(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 24))]


def test_a_client_that_gives_up(connection: ServerConnection) -> None:
    opened(connection)
    assert connection.receive(frame(RST_STREAM, 0, 1, b"\0\0\0\x08")) == [Reset(1)]
    connection.respond(1, b"H", b"body", b"T")
    assert take(connection) == []


def test_frames_outside_of_streams(connection: ServerConnection) -> None:
    assert connection.receive(frame(PING, 0, 0, b"12345678")) == []
    assert take(connection) == [(PING, ACK, 0, b"12345678")]
    # Acknowledgements, priorities and unknown frames are ignored.
    assert (
        connection.receive(frame(PING, ACK, 0, b"12345678") + frame(SETTINGS, ACK, 0, b"") + frame(2, 0, 1, b"12345"))
        == []
    )
    assert connection.receive(frame(99, 0, 0, b"?") + frame(GOAWAY, 0, 0, bytes(8))) == []
    assert take(connection) == []


def test_goaway_accepts_requests_in_transit(connection: ServerConnection) -> None:
    connection.go_away()
    assert take(connection) == [(GOAWAY, 0, 0, struct.pack(">II", 2**31 - 1, 0))]
    opened(connection)
    assert connection.open_streams == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(HEADERS, END_HEADERS, 2, BLOCK), PROTOCOL_ERROR),
        (frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
        (frame(CONTINUATION, END_HEADERS, 1, BLOCK), PROTOCOL_ERROR),
        (frame(DATA, 0, 1, b""), PROTOCOL_ERROR),
        (frame(DATA, 0, 0, b""), PROTOCOL_ERROR),
        (frame(5, 0, 1, b""), PROTOCOL_ERROR),
        (frame(HEADERS, END_HEADERS, 1, b"\x80"), COMPRESSION_ERROR),
        (frame(SETTINGS, 0, 0, b"123"), FRAME_SIZE_ERROR),
        (frame(WINDOW_UPDATE, 0, 0, b"123"), FRAME_SIZE_ERROR),
        (b"\xff\xff\xff" + bytes(6), FRAME_SIZE_ERROR),
        (frame(HEADERS, END_HEADERS | PADDED, 1, b"\x09abc"), PROTOCOL_ERROR),
        # The same request is not completed twice.
        (WHOLE + frame(HEADERS, END_HEADERS | END_STREAM, 1, BLOCK), STREAM_CLOSED),
        (WHOLE + frame(DATA, 0, 1, b"more"), STREAM_CLOSED),
        (WHOLE + frame(DATA, END_STREAM, 1, b""), STREAM_CLOSED),
        (frame(HEADERS, END_HEADERS, 1, BLOCK) + frame(HEADERS, END_HEADERS, 1, BLOCK), PROTOCOL_ERROR),
    ],
)
def test_a_client_that_violates_the_protocol(connection: ServerConnection, data: bytes, code: int) -> None:
    with pytest.raises(H2Error) as caught:
        connection.receive(data)
    assert caught.value.code == code


def test_bytes_that_are_not_http2() -> None:
    with pytest.raises(H2Error, match="no HTTP/2 preface"):
        ServerConnection().receive(b"GET / HTTP/1.1\r\n")


def test_a_smaller_table_is_acknowledged_in_the_next_block_alone(connection: ServerConnection) -> None:
    """RFC 7541, section 4.2."""
    connection.receive(frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0)))
    take(connection)
    for stream in (1, 3):
        opened(connection, stream)
        connection.respond(stream, b"", b"", BLOCK)
    assert [payload for kind, _, _, payload in take(connection) if kind == HEADERS] == [b"\x20" + BLOCK, BLOCK]


def limited(**limits: int) -> ServerConnection:
    made = ServerConnection(ServerLimits(**limits))
    made.receive(PREFACE + frame(SETTINGS, 0, 0, b""))
    return made


def test_more_requests_than_announced_are_refused() -> None:
    connection = limited(streams=2)
    assert struct.pack(">HI", 3, 2) in take(connection)[0][3]
    opened(connection, 1)
    opened(connection, 3)
    assert connection.receive(frame(HEADERS, END_HEADERS | END_STREAM, 5, BLOCK)) == []
    assert take(connection) == [(RST_STREAM, 0, 5, struct.pack(">I", 7))]
    # What is reset and still runs counts; what is answered does not.
    connection.receive(frame(RST_STREAM, 0, 1, b"\0\0\0\x08"))
    connection.abandoned = 1
    assert connection.receive(frame(HEADERS, END_HEADERS | END_STREAM, 7, BLOCK)) == []
    connection.respond(3, b"H", b"", b"T")
    assert connection.receive(frame(HEADERS, END_HEADERS, 9, BLOCK)) == [Opened(9, FIELDS)]


def test_the_bytes_of_all_requests_are_limited() -> None:
    connection = limited(held_bytes=10)
    for stream in (1, 3, 5):
        connection.receive(frame(HEADERS, END_HEADERS, stream, BLOCK))
    assert connection.receive(frame(DATA, 0, 1, b"123456")) == []
    assert connection.receive(frame(DATA, 0, 3, b"12345")) == [TooLarge(3, 5)]
    assert connection.held == 6
    # The rest of one that is dropped is not kept.
    assert connection.receive(frame(DATA, END_STREAM, 3, bytes(1000))) == []
    assert connection.receive(frame(DATA, END_STREAM, 1, b"")) == [Completed(1, b"123456")]
    assert connection.receive(frame(DATA, 0, 5, b"12345")) == [TooLarge(5, 5)]
    connection.release(6)
    assert connection.held == 0
    connection.receive(frame(HEADERS, END_HEADERS, 7, BLOCK) + frame(DATA, 0, 7, b"123"))
    connection.receive(frame(RST_STREAM, 0, 7, b"\0\0\0\x08"))
    assert connection.held == 0


def test_a_body_is_whole_whatever_its_parts() -> None:
    """Large parts are kept as they are, small ones together."""
    connection = limited(held_bytes=1 << 20)
    sizes = [3, 20, 5000, 1, 70, 16384, 16384, 4095, 4096, *[4000] * 40, 2]
    parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK))
    for part in parts:
        assert connection.receive(frame(DATA, 0, 1, part)) == []
    assert (connection.held, connection.taken, connection.complete) == (sum(sizes), sum(sizes), 0)
    assert connection.receive(frame(DATA, END_STREAM, 1, b"")) == [Completed(1, b"".join(parts))]
    assert (connection.held, connection.taken, connection.complete) == (sum(sizes),) * 3
    connection.release(sum(sizes))
    connection.respond(1, b"", b"", b"T")
    assert connection.held == 0


FLOODS: dict[str, Callable[[int], bytes]] = {
    "ping": lambda _: frame(PING, 0, 0, bytes(8)),
    "settings": lambda _: frame(SETTINGS, 0, 0, b""),
    "acknowledgements": lambda _: frame(SETTINGS, ACK, 0, b""),
    "priority": lambda _: frame(2, 0, 1, bytes(5)),
    "windows": lambda _: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "goaway": lambda _: frame(GOAWAY, 0, 0, bytes(8)),
    "unknown": lambda _: frame(77, 0, 0, b""),
    "empty data": lambda _: frame(DATA, 0, 1, b""),
    "tiny data": lambda _: frame(DATA, PADDED, 1, b"\1x\0"),
    "resets": lambda _: frame(RST_STREAM, 0, 1, b"\0\0\0\x08"),
    "rapid reset": lambda turn: (
        frame(HEADERS, END_HEADERS, 2 * turn + 3, BLOCK) + frame(RST_STREAM, 0, 2 * turn + 3, b"\0\0\0\x08")
    ),
    "refused": lambda turn: frame(HEADERS, END_HEADERS, 2 * turn + 3, BLOCK),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_the_connection(connection: ServerConnection, flood: str) -> None:
    connection.receive(frame(HEADERS, END_HEADERS, 1, BLOCK))
    with pytest.raises(H2Error, match="too many") as caught:
        for turn in range(200):
            connection.receive(b"".join(FLOODS[flood](200 * turn + place) for place in range(200)))
    assert caught.value.code == ENHANCE_YOUR_CALM
    assert len(connection.out) < 1 << 20


def test_a_client_that_asks_on_and_on_is_no_flood(connection: ServerConnection) -> None:
    """Each request costs some frames beside it, as grpcio's clients send them."""
    beside = frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\5") * 3 + frame(PING, 0, 0, bytes(8)) + frame(PING, ACK, 0, bytes(8))
    for stream in range(1, 10_001, 2):
        events = connection.receive(frame(HEADERS, END_HEADERS | END_STREAM, stream, BLOCK) + beside)
        assert len(events) == 2
        connection.respond(stream, b"H", b"body", b"T")
        connection.out.clear()


def test_an_allowance_comes_back_with_time_and_with_work() -> None:
    now = [0.0]
    allowance = Allowance(3, 2.0, "things", lambda: now[0])
    for _ in range(3):
        allowance.spend(1)
    with pytest.raises(H2Error, match="too many things"):
        allowance.spend(1)
    now[0] = 1.0
    allowance.spend(1)
    allowance.earn(100)
    for _ in range(3):
        allowance.spend(1)
    # A long rest does not add up.
    now[0] = 1000.0
    with pytest.raises(H2Error):
        for _ in range(10):
            allowance.spend(1)


def test_a_header_block_without_end_is_refused(connection: ServerConnection) -> None:
    connection.receive(frame(HEADERS, 0, 1, BLOCK))
    with pytest.raises(H2Error, match="bytes of headers") as caught:
        for _ in range(2000):
            connection.receive(frame(CONTINUATION, 0, 1, b""))
    assert caught.value.code == ENHANCE_YOUR_CALM


def test_a_window_for_many_streams_is_shared_in_their_order(connection: ServerConnection) -> None:
    for stream in (1, 3, 5):
        opened(connection, stream)
        connection.respond(stream, b"H", b"x" * 40_000, b"T")
    take(connection)
    connection.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 40_000)))
    sent = [(stream, len(payload)) for kind, _, stream, payload in take(connection) if kind == DATA]
    assert sum(size for _, size in sent) == 40_000
    assert [stream for stream, _ in sent] == sorted(stream for stream, _ in sent)
    connection.receive(frame(RST_STREAM, 0, 5, b"\0\0\0\x08"))
    connection.receive(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 20)))
    assert connection.unsent == 0
