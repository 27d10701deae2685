"""HTTP/2 and what gRPC puts on it: round trips of anything, cut anywhere, and bytes that mean nothing."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.serving.http2.client import ClientConnection, Request
from bench.serving.http2.frames import (
    INITIAL_WINDOW_SIZE,
    LARGEST_STREAM,
    MAX_FRAME_SIZE,
    PREFACE,
    SETTINGS,
    Frame,
    FrameReader,
    H2Error,
    frame,
    read_settings,
)
from bench.serving.http2.grpc_wire import (
    framed,
    is_one_message,
    percent_decoded,
    percent_encoded,
    timeout_header,
    timeout_seconds,
)
from bench.serving.http2.hpack import Decoder, HpackError, encode
from bench.serving.http2.server import Completed, ServerConnection
from tests.support.pieces import CUTS, cut

HEADERS = st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=8)
FRAMES = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, LARGEST_STREAM), st.binary(max_size=80)),
    max_size=12,
)


@given(st.lists(HEADERS, max_size=4))
def test_headers_come_back_as_they_were(blocks: list[list[tuple[bytes, bytes]]]) -> None:
    decoder = Decoder()
    assert [decoder.decode(encode(headers)) for headers in blocks] == blocks


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), min_size=1, max_size=8))
def test_headers_that_enter_the_table_are_found_there(headers: list[tuple[bytes, bytes]]) -> None:
    """Literals with indexing (RFC 7541, section 6.2.1), then each by its index: the newest is 62."""
    literal = b"".join(b"\x40" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in headers)
    decoder = Decoder()
    assert decoder.decode(literal) == headers
    indexed = bytes(0x80 | 62 + place for place in range(len(headers)))
    assert decoder.decode(indexed) == headers[::-1]


@given(st.binary(max_size=200))
def test_a_header_block_of_anything_is_read_or_refused(block: bytes) -> None:
    decoder = Decoder()
    try:
        headers = decoder.decode(block)
    except HpackError:
        return
    assert all(type(name) is type(value) is bytes for name, value in headers)


@given(FRAMES, CUTS)
def test_frames_come_back_however_they_are_cut(frames: list[Frame], cuts: list[int]) -> None:
    reader, found = FrameReader(), []
    for piece in cut(b"".join(frame(*each) for each in frames), cuts):
        reader.feed(piece)
        found += reader.frames()
    assert found == frames


@given(st.lists(st.tuples(st.integers(0, 1 << 15), st.integers(0, (1 << 32) - 1)), max_size=20))
def test_settings_come_back_or_are_refused(pairs: list[tuple[int, int]]) -> None:
    payload = b"".join(number.to_bytes(2, "big") + value.to_bytes(4, "big") for number, value in pairs)
    refused = any(
        (number == INITIAL_WINDOW_SIZE and value >= 1 << 31)
        or (number == MAX_FRAME_SIZE and not 1 << 14 <= value < 1 << 24)
        for number, value in pairs
    )
    if refused:
        with pytest.raises(H2Error):
            read_settings(payload)
    else:
        assert read_settings(payload) == pairs


@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    st.integers(1, 40_000),
    CUTS,
)
def test_every_answer_reaches_its_request(bodies: list[bytes], step: int, cuts: list[int]) -> None:
    """Client and server in memory; the answer repeats the request."""
    client, server = ClientConnection(), ServerConnection()
    asked = [Request(encode([(b":path", b"/x")]), body) for body in bodies]
    for request in asked:
        client.send(request)
    over: list[Request] = []
    while client.out or server.out:
        to_server, to_client = bytes(client.out), bytes(server.out)
        client.out.clear()
        server.out.clear()
        for piece in cut(to_server, [*cuts, step]):
            for event in server.receive(piece):
                if isinstance(event, Completed):
                    server.respond(event.stream, encode([(b":status", b"200")]), event.body, encode([(b"end", b"1")]))
        for piece in cut(to_client, [*cuts, step]):
            over += client.receive(piece)
    assert sorted(request.stream for request in over) == [1 + 2 * index for index in range(len(bodies))]
    assert [bytes(request.answer) for request in asked] == bodies


@given(FRAMES, st.binary(max_size=50))
def test_no_bytes_bring_a_connection_down_otherwise_than_by_the_protocol(frames: list[Frame], rest: bytes) -> None:
    data = b"".join(frame(*each) for each in frames) + rest
    for connection, greeting in ((ServerConnection(), PREFACE), (ClientConnection(), b"")):
        connection.receive(greeting + frame(SETTINGS, 0, 0, b""))
        try:
            connection.receive(data)
        except H2Error as error:
            assert 0 <= error.code <= 13
            assert str(error)


@given(st.binary(max_size=100))
def test_status_texts_come_back(text: bytes) -> None:
    encoded = percent_encoded(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert percent_decoded(encoded) == text


@given(st.floats(1e-6, 99_999_999.0))
def test_timeouts_are_never_shorter_and_hardly_longer(seconds: float) -> None:
    header = timeout_header(seconds)
    assert len(header) <= 9
    read = timeout_seconds(header)
    assert read is not None
    assert seconds * (1 - 2e-9) <= read <= max(seconds * 1.0001, seconds + 1.1e-6, math.ceil(seconds / 1e5))


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_messages_are_whole_or_not(message: bytes, more: bytes) -> None:
    body = framed(message)
    assert is_one_message(body)
    assert body[5:] == message
    assert is_one_message(body + more) is not bool(more)
