"""HTTP/2 on the client's side: against the server's side in memory, and bytes that a correct server never sends."""

import struct

import pytest

from bench.serving.http2.client import ClientConnection, Request
from bench.serving.http2.frames import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PING,
    PREFACE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
    H2Error,
    frame,
    goaway,
    rst_stream,
    window_update,
)
from bench.serving.http2.hpack import Decoder, encode
from bench.serving.http2.server import Completed, Opened, Reset, ServerConnection

FIRST = encode([(b":status", b"200"), (b"a", b"b")])
LAST = encode([(b"end", b"1")])
HELLO = frame(SETTINGS, 0, 0, b"")


def request(body: bytes = b"question") -> Request:
    return Request(encode([(b":path", b"/x")]), body)


def sent(client: ClientConnection) -> list[tuple[int, int, int, bytes]]:
    """The frames that the client wants sent, its preface left out."""
    reader = FrameReader()
    reader.feed(bytes(client.out))
    client.out.clear()
    reader.starts_with(PREFACE)
    return reader.frames()


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


@pytest.fixture
def client() -> ClientConnection:
    """A connection on which the server has sent its settings."""
    made = ClientConnection()
    assert made.receive(HELLO) == []
    assert [(kind, flags) for kind, flags, _, _ in sent(made)] == [(SETTINGS, 0), (WINDOW_UPDATE, 0), (SETTINGS, ACK)]
    return made


def talk(client: ClientConnection, server: ServerConnection, answer: bytes, step: int) -> list[Request]:
    """Lets both sides talk, `step` bytes at a time, until neither has anything to say; every request gets `answer`."""
    over = []
    while client.out or server.out:
        to_server, to_client = bytes(client.out), bytes(server.out)
        client.out.clear()
        server.out.clear()
        for at in range(0, len(to_server), step):
            for event in server.receive(to_server[at : at + step]):
                if isinstance(event, Completed):
                    server.respond(event.stream, FIRST, answer + event.body, LAST)
        for at in range(0, len(to_client), step):
            over += client.receive(to_client[at : at + step])
    return over


@pytest.mark.parametrize(("step", "size"), [(1, 0), (1, 10), (7, 10), (4001, 200_000), (1 << 20, 200_000)])
def test_requests_and_answers_of_any_size_cut_anywhere(step: int, size: int) -> None:
    client, server = ClientConnection(), ServerConnection()
    asked = [request(bytes([65 + index]) * size) for index in range(3)]
    for each in asked:
        client.send(each)
    assert talk(client, server, b"re: ", step) == asked
    assert [bytes(each.answer) for each in asked] == [b"re: " + each.body for each in asked]
    assert [each.stream for each in asked] == [1, 3, 5]
    assert (asked[0].headers, asked[0].trailers) == ([(b":status", b"200"), (b"a", b"b")], [(b"end", b"1")])
    assert not client.unanswered


def test_bodies_wait_for_the_servers_windows(client: ClientConnection) -> None:
    client.receive(settings((INITIAL_WINDOW_SIZE, 10)))
    sent(client)
    asked = request(b"x" * 25)
    client.send(asked)
    assert sent(client)[1:] == [(DATA, 0, 1, b"x" * 10)]
    client.receive(window_update(10, 1))
    assert sent(client) == [(DATA, 0, 1, b"x" * 10)]
    client.receive(window_update(10, 1))
    assert sent(client) == [(DATA, END_STREAM, 1, b"x" * 5)]


def test_requests_wait_while_the_server_has_no_room(client: ClientConnection) -> None:
    client.receive(settings((MAX_CONCURRENT_STREAMS, 1)))
    first, second, third = request(), request(), request()
    for each in (first, second, third):
        client.send(each)
    assert {stream for _, _, stream, _ in sent(client)} == {0, 1}
    client.cancel(second)
    assert client.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, FIRST)) == [first]
    assert {stream for _, _, stream, _ in sent(client)} == {3}
    assert third.stream == 3


def test_where_a_request_ends_is_known_when_all_of_it_has_left(client: ClientConnection) -> None:
    """However long it waited for room and for windows: what a server cannot have read may be sent again."""
    client.receive(settings((MAX_CONCURRENT_STREAMS, 1), (INITIAL_WINDOW_SIZE, 10)))

    def leave() -> int:
        client.sent += len(client.out)
        client.out.clear()
        return client.sent

    asked = [request(b"x" * 25), request(b"y")]
    for each in asked:
        client.send(each)
    for stream in (1, 1):
        leave()
        assert [each.end for each in asked] == [0, 0]
        client.receive(window_update(10, stream))
    assert asked[0].end == leave()
    client.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, FIRST))
    assert asked[0].end < asked[1].end == leave()


def test_an_answer_of_headers_alone(client: ClientConnection) -> None:
    asked = request()
    client.send(asked)
    assert client.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, FIRST)) == [asked]
    assert asked.headers == asked.trailers == [(b":status", b"200"), (b"a", b"b")]


def test_early_hints_are_not_the_answers_headers(client: ClientConnection) -> None:
    asked = request()
    client.send(asked)
    client.receive(frame(HEADERS, END_HEADERS, 1, encode([(b":status", b"103")])))
    client.receive(frame(HEADERS, END_HEADERS, 1, FIRST))
    assert asked.headers == [(b":status", b"200"), (b"a", b"b")]


def test_header_blocks_in_pieces_both_ways(client: ClientConnection) -> None:
    long = Request(encode([(b"x", b"y" * 40_000)]), b"")
    client.send(long)
    kinds = [(kind, flags) for kind, flags, _, _ in sent(client)]
    assert kinds == [(HEADERS, 0), (CONTINUATION, 0), (CONTINUATION, END_HEADERS), (DATA, END_STREAM)]
    client.receive(frame(HEADERS, 0, 1, FIRST[:2]))
    client.receive(frame(CONTINUATION, END_HEADERS, 1, FIRST[2:]))
    assert long.headers == [(b":status", b"200"), (b"a", b"b")]


def test_what_is_cancelled_is_not_heard_of_again(client: ClientConnection) -> None:
    asked, other = request(), request()
    client.send(asked)
    client.send(other)
    sent(client)
    client.cancel(asked)
    client.cancel(asked)
    assert sent(client) == [(RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big"))]
    late = frame(HEADERS, END_HEADERS, 1, FIRST) + frame(DATA, END_STREAM, 1, b"late")
    assert client.receive(late) == []
    assert client.unanswered == [other]


def test_the_server_hears_of_a_cancelled_request() -> None:
    client, server = ClientConnection(), ServerConnection()
    talk(client, server, b"", 1 << 20)
    asked = request()
    client.send(asked)
    assert [type(event) for event in server.receive(bytes(client.out))] == [Opened, Completed]
    client.out.clear()
    client.cancel(asked)
    assert server.receive(bytes(client.out)) == [Reset(1)]


def test_a_request_answered_before_it_was_sent_is_stopped(client: ClientConnection) -> None:
    client.receive(settings((INITIAL_WINDOW_SIZE, 4)))
    asked = request(b"x" * 100)
    client.send(asked)
    sent(client)
    assert client.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, FIRST)) == [asked]
    assert [(kind, stream) for kind, _, stream, _ in sent(client)] == [(RST_STREAM, 1)]


def test_resets(client: ClientConnection) -> None:
    asked = request()
    client.send(asked)
    assert client.receive(rst_stream(1, REFUSED_STREAM)) == [asked]
    assert asked.reset == REFUSED_STREAM


def test_a_goodbye_leaves_what_is_on_its_way(client: ClientConnection) -> None:
    client.receive(settings((MAX_CONCURRENT_STREAMS, 2)))
    first, second, queued = request(), request(), request()
    for each in (first, second, queued):
        client.send(each)
    assert client.receive(goaway(1, 0)) == [second, queued]
    assert (second.reset, queued.reset) == (REFUSED_STREAM, REFUSED_STREAM)
    assert second.unprocessed
    assert queued.unprocessed
    assert not client.usable
    assert client.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, FIRST)) == [first]
    assert first.reset is None
    assert not first.unprocessed


def test_a_goodbye_for_an_error_ends_all_with_its_code(client: ClientConnection) -> None:
    client.receive(settings((MAX_CONCURRENT_STREAMS, 2)))
    asked = [request(), request(), request()]
    for each in asked:
        client.send(each)
    assert client.receive(goaway(1, ENHANCE_YOUR_CALM)) == asked
    assert {(each.reset, each.unprocessed) for each in asked} == {(ENHANCE_YOUR_CALM, False)}


@pytest.mark.parametrize(("code", "again"), [(0, True), (2, True), (8, True), (1, False), (9, False)])
def test_a_goodbye_says_what_may_be_sent_again(client: ClientConnection, code: int, again: bool) -> None:
    """Whatever the reason, streams after the last were not looked at; but the same bytes would break the same rule."""
    seen, unprocessed = request(), request()
    client.send(seen)
    client.send(unprocessed)
    client.receive(goaway(1, code))
    assert (seen.unprocessed, unprocessed.unprocessed) == (False, again)


def test_a_goodbye_in_two_steps(client: ClientConnection) -> None:
    """The first GOAWAY accepts requests in transit, the second one names those that came too late (RFC 9113, 6.8)."""
    first, second = request(), request()
    client.send(first)
    client.send(second)
    assert client.receive(goaway((1 << 31) - 1, 0)) == []
    assert not client.usable
    assert client.receive(goaway(1, 0)) == [second]
    assert second.unprocessed
    assert client.unanswered == [first]


def test_what_is_refused_was_not_looked_at(client: ClientConnection) -> None:
    refused, failed = request(), request()
    client.send(refused)
    client.send(failed)
    client.receive(rst_stream(1, REFUSED_STREAM) + rst_stream(3, CANCEL))
    assert (refused.unprocessed, failed.unprocessed) == (True, False)


def test_a_server_that_takes_none_for_a_while(client: ClientConnection) -> None:
    """Settings about something else leave the limit as it is."""
    client.receive(settings((MAX_CONCURRENT_STREAMS, 0)))
    client.receive(settings((INITIAL_WINDOW_SIZE, 100_000)))
    asked = request()
    client.send(asked)
    assert asked.stream == 0
    client.receive(settings((MAX_CONCURRENT_STREAMS, 1)))
    assert asked.stream == 1


def test_an_answer_that_is_too_large_is_given_up() -> None:
    client = ClientConnection(most=1000)
    client.receive(HELLO)
    asked, other = request(), request()
    client.send(asked)
    client.send(other)
    sent(client)
    assert client.receive(frame(DATA, 0, 1, bytes(900))) == []
    assert client.receive(frame(DATA, 0, 1, bytes(200))) == [asked]
    assert asked.too_large
    assert sent(client) == [(RST_STREAM, 0, 1, struct.pack(">I", CANCEL))]
    assert client.receive(frame(DATA, 0, 1, bytes(900))) == []
    assert client.receive(frame(HEADERS, END_HEADERS | END_STREAM, 3, FIRST)) == [other]


@pytest.mark.parametrize(
    ("piece", "text"),
    [
        (frame(PING, 0, 0, bytes(8)), "without an answer"),
        (HELLO, "without an answer"),
        (frame(DATA, 0, 1, b""), "without an answer"),
        (frame(HEADERS, END_HEADERS, 1, encode([(b":status", b"103")])), "without an answer"),
        (frame(0xB0, 0, 0, b""), "without an answer"),
        (window_update(1, 1), "without an answer"),
    ],
)
def test_endless_frames_without_an_answer(client: ClientConnection, piece: bytes, text: str) -> None:
    client.send(request())
    with pytest.raises(H2Error, match=text):
        for _ in range(200):
            client.receive(piece * 1000)
    assert len(client.out) < 1 << 20


def test_many_frames_between_answers_are_not_a_flood(client: ClientConnection) -> None:
    for index in range(20):
        asked = request()
        client.send(asked)
        assert client.receive(frame(PING, 0, 0, bytes(8)) * 1000) == []
        assert client.receive(frame(HEADERS, END_HEADERS | END_STREAM, 2 * index + 1, FIRST)) == [asked]
        client.out.clear()


@pytest.mark.parametrize(
    ("piece", "text"),
    [
        (frame(PING, 0, 0, bytes(9)), "ping of 9 bytes"),
        (frame(SETTINGS, 0, 0, bytes(6 * 129)), "129 settings"),
        (window_update(0, 1), "by 0 bytes"),
        (frame(5, END_HEADERS, 1, bytes(4) + FIRST), "push"),
        (frame(HEADERS, 0, 1, bytes(20_000)) + frame(CONTINUATION, 0, 1, bytes(20_000)), "bytes of headers"),
        (frame(HEADERS, 0, 1, b"") + frame(CONTINUATION, 0, 1, b"") * 1100, "bytes of headers"),
        (frame(HEADERS, END_HEADERS, 1, b"\x88" * 1600), "header list larger than 65536"),
    ],
)
def test_frames_that_a_correct_server_never_sends(client: ClientConnection, piece: bytes, text: str) -> None:
    client.send(request())
    with pytest.raises(H2Error, match=text):
        client.receive(piece)


def test_nothing_is_asked_before_the_servers_settings() -> None:
    client = ClientConnection()
    asked = [request(), request()]
    for each in asked:
        client.send(each)
    assert {stream for _, _, stream, _ in sent(client)} == {0}
    client.receive(settings((MAX_CONCURRENT_STREAMS, 1)))
    assert {stream for _, _, stream, _ in sent(client)} == {0, 1}
    assert [each.stream for each in asked] == [1, 0]


def test_a_smaller_table_is_acknowledged_in_the_next_block_alone(client: ClientConnection) -> None:
    """RFC 7541, section 4.2; nghttp2 ends the connection otherwise."""
    client.receive(settings((HEADER_TABLE_SIZE, 0)))
    client.send(request())
    client.send(request())
    blocks = [payload for kind, _, _, payload in sent(client) if kind == HEADERS]
    assert blocks == [b"\x20" + request().block, request().block]
    assert Decoder().decode(blocks[0]) == [(b":path", b"/x")]


def test_pings_are_answered(client: ClientConnection) -> None:
    client.receive(frame(PING, 0, 0, b"12345678") + frame(PING, ACK, 0, b"12345678"))
    assert sent(client) == [(PING, ACK, 0, b"12345678")]


def test_the_connections_window_is_opened_again(client: ClientConnection) -> None:
    client.send(request())
    sent(client)
    for _ in range(17):
        client.receive(frame(DATA, 0, 1, bytes(1 << 20)))
    (update,) = sent(client)
    assert update[0] == WINDOW_UPDATE
    assert int.from_bytes(update[3], "big") == 1 << 24


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame(PING, 0, 0, b"12345678"),
        frame(SETTINGS, ACK, 0, b""),
        HELLO + frame(SETTINGS, 0, 0, b"12345"),
        HELLO + frame(CONTINUATION, END_HEADERS, 1, FIRST),
        HELLO + frame(HEADERS, 0, 1, FIRST) + frame(DATA, 0, 1, b"x"),
        HELLO + frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff"),
        HELLO + frame(DATA, 0, 7, b"x"),
        HELLO + frame(WINDOW_UPDATE, 0, 0, b"1"),
        HELLO + window_update((1 << 31) - 1),
        HELLO + settings((INITIAL_WINDOW_SIZE, 1 << 31)),
        settings((MAX_FRAME_SIZE, 0)),
        settings((MAX_FRAME_SIZE, 1 << 24)),
        HELLO + frame(GOAWAY, 0, 0, b"1"),
    ],
)
def test_servers_that_break_the_protocol(data: bytes) -> None:
    client = ClientConnection()
    client.send(request())
    with pytest.raises(H2Error):
        client.receive(data)
