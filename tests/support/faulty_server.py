"""Servers that misbehave: `python -m tests.support.faulty_server NAME` prints its port, serves until its input closes.

Each answers the first request of a connection as it should and floods, stalls or closes from then on, as its name says;
floods end when the client has gone. Nothing but the standard library, so that it is up at once.
"""

import contextlib
import gzip
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GIGABYTE = 1 << 30
OK = b"HTTP/1.1 200 OK\r\n"
GOOD = OK + b"Content-Length: 4\r\n\r\ngood"
Talk = Callable[[socket.socket], None]


def read_request(connection: socket.socket) -> bytes:
    """The body of one HTTP request and what else came with it, or its head where it has no body; b"" at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *(\d+)", head)
    size = int(length[1]) if length else 0
    while len(body) < size:
        if not (part := connection.recv(65536)):
            return b""
        body += part
    return body or head


def endless(connection: socket.socket, begin: bytes, piece: bytes, pause: float = 0.0) -> None:
    """Sends until the client has gone."""
    connection.sendall(begin)
    block = piece if pause else piece * max((1 << 16) // len(piece), 1)
    while True:
        connection.sendall(block)
        time.sleep(pause)


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
REST_FLOODS: dict[str, tuple[bytes, bytes, float]] = {
    "rest-silence": (b"", b"", 1.0),
    "rest-head-byte-by-byte": (OK + b"X-Slow: ", b"x", 0.02),
    "rest-body-byte-by-byte": (OK + b"Content-Length: 1000\r\n\r\n", b"x", 0.02),
    "rest-chunk-size-byte-by-byte": (CHUNKED, b"0", 0.02),
    "rest-interim-now-and-then": (b"", b"HTTP/1.1 102 Processing\r\n\r\n", 0.02),
    "rest-status-line": (b"HTTP/1.1 200 ", b"O", 0.0),
    "rest-one-header": (OK + b"X-Long: ", b"x", 0.0),
    "rest-header-lines": (OK, b"X-Next: one\r\n", 0.0),
    "rest-interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
    "rest-hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0.0),
    "rest-chunk-extension": (CHUNKED + b"4;x=", b"y", 0.0),
    "rest-chunks-of-a-byte": (CHUNKED, b"1\r\nx\r\n", 0.0),
    "rest-small-chunks": (CHUNKED, b"8\r\n12345678\r\n", 0.0),
    "rest-trailers": (CHUNKED + b"4\r\ngood\r\n0\r\n", b"X-Last: one\r\n", 0.0),
    "rest-large": (OK + b"Content-Length: %d\r\n\r\n" % GIGABYTE, b"x", 0.0),
    "rest-large-chunks": (CHUNKED, b"10000\r\n" + bytes(1 << 16) + b"\r\n", 0.0),
    "rest-until-closed": (OK + b"\r\n", b"x", 0.0),
    "rest-something-else": (b"SSH-2.0-OpenSSH_9.6\r\n", b"x", 0.0),
}


def flood(begin: bytes, piece: bytes, pause: float) -> Talk:
    """Answers the first request well, and the next one with what never ends."""

    def talk(connection: socket.socket) -> None:
        if read_request(connection):
            connection.sendall(GOOD)
        if read_request(connection):
            if piece:
                endless(connection, begin, piece, pause)
            connection.recv(1)

    return talk


def bomb(connection: socket.socket) -> None:
    """A small body that unpacks to a gigabyte."""
    body = gzip.compress(bytes(1 << 20)) * 1024
    while read_request(connection):
        connection.sendall(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def never_reads(connection: socket.socket) -> None:
    time.sleep(60)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
STATUS = b"\x88" + b"\x00\x0ccontent-type\x10application/grpc"
TRAILERS = b"\x00\x0bgrpc-status\x010"
HEAD = frame(HEADERS, 4, 3, STATUS)
INTERIM = frame(HEADERS, 4, 3, b"\x00\x07:status\x03103")
# A header of 4,000 bytes that goes into the table, and references to it.
REFERENCES = b"\x40\x01a\x7f" + b"\xa1\x1e" + b"x" * 4000 + b"\xbe" * 12000
GRPC_FLOODS: dict[str, tuple[bytes, bytes, float]] = {
    "grpc-silence": (b"", b"", 1.0),
    "grpc-byte-by-byte": (b"", b"\0", 0.02),
    "grpc-pings-now-and-then": (b"", frame(PING, 0, 0, bytes(8)), 0.02),
    "grpc-pings": (b"", frame(PING, 0, 0, bytes(8)), 0.0),
    "grpc-settings": (b"", frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)), 0.0),
    "grpc-many-settings": (b"", frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535) * 2700), 0.0),
    "grpc-windows": (b"", frame(WINDOW, 0, 3, struct.pack(">I", 1)), 0.0),
    "grpc-empty-data": (HEAD, frame(DATA, 0, 3), 0.0),
    "grpc-padding": (HEAD, frame(DATA, 8, 3, b"\xff" + bytes(255)), 0.0),
    "grpc-data-of-a-byte": (HEAD, frame(DATA, 0, 3, b"x"), 0.0),
    "grpc-small-data": (HEAD, frame(DATA, 0, 3, bytes(64)), 0.0),
    "grpc-large": (HEAD + frame(DATA, 0, 3, b"\0" + struct.pack(">I", GIGABYTE)), frame(DATA, 0, 3, bytes(16384)), 0.0),
    "grpc-continuation": (frame(HEADERS, 0, 3, STATUS), frame(CONTINUATION, 0, 3, b"\x00\x01a\x01b" * 3000), 0.0),
    "grpc-empty-continuation": (frame(HEADERS, 0, 3, STATUS), frame(CONTINUATION, 0, 3), 0.0),
    "grpc-references": (b"", frame(HEADERS, 4, 3, REFERENCES), 0.0),
    "grpc-interim": (b"", INTERIM, 0.0),
    "grpc-resets": (b"", frame(RST, 0, 1, bytes(4)), 0.0),
    "grpc-priorities": (b"", frame(PRIORITY, 0, 3, bytes(5)), 0.0),
    "grpc-unknown-frames": (b"", frame(0xB0, 0, 0, b"?"), 0.0),
    "grpc-goodbyes": (b"", frame(GOAWAY, 0, 0, struct.pack(">II", (1 << 31) - 1, 0)), 0.0),
    "grpc-pushes": (b"", frame(PUSH, 4, 3, struct.pack(">I", 2) + STATUS), 0.0),
    "grpc-large-frame": (HEAD + struct.pack(">I", 1 << 23)[1:] + struct.pack(">BBI", DATA, 0, 3), b"x", 0.0),
}


class Frames:
    """Cuts what comes on a connection into frames.

    Attributes:
        ended: whether the client closed it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""
        self.ended = False
        assert self._take(len(PREFACE)) == PREFACE

    def ready(self, seconds: float | None) -> bool:
        """Whether something is there to read, or comes in that time."""
        return bool(self._data) or bool(select.select([self._connection], [], [], seconds)[0])

    def next_call(self) -> int:
        """The stream of the next frame, if it ends a call; else 0."""
        head = self._take(9)
        self._take(int.from_bytes(head[:3], "big"))
        return int.from_bytes(head[5:], "big") if not self.ended and head[3] == DATA and head[4] & 1 else 0

    def next_request(self) -> int:
        """The stream of the next call that is there as a whole; 0 at the end."""
        while not self.ended:
            if stream := self.next_call():
                return stream
        return 0

    def _take(self, size: int) -> bytes:
        while len(self._data) < size and not self.ended:
            part = self._connection.recv(65536)
            self._data += part
            self.ended = not part
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def grpc_answer(stream: int, message: bytes = b"good") -> bytes:
    body = b"\0" + struct.pack(">I", len(message)) + message
    return frame(HEADERS, 4, stream, STATUS) + frame(DATA, 0, stream, body) + frame(HEADERS, 5, stream, TRAILERS)


def grpc_flood(begin: bytes, piece: bytes, pause: float) -> Talk:
    """Answers the first request well, and the second, which has stream 3, with what never ends."""

    def talk(connection: socket.socket) -> None:
        frames = Frames(connection)
        connection.sendall(frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0))
        if stream := frames.next_request():
            connection.sendall(grpc_answer(stream))
        if frames.next_request():
            if piece:
                endless(connection, begin, piece, pause)
            frames.next_request()

    return talk


class Closing:
    """A REST server that closes kept connections.

    Args:
        idle: seconds without a request after which a connection is ended.
        answers: how many a connection gets.
        end: how it is ended: `fin`, `rst` (reset), `half` (its own side alone, and reads on) or `408` (says so first).
        unread: whether it waits for one more request then and closes without having read it.
        says: whether the last answer announces it.
        http10: whether answers are HTTP/1.0, which ends a connection.
    """

    def __init__(
        self,
        idle: float | None = None,
        answers: int = 1 << 30,
        end: str = "fin",
        unread: bool = False,
        says: bool = False,
        http10: bool = False,
    ) -> None:
        self.idle, self.answers, self.end, self.unread, self.says, self.http10 = (
            idle,
            answers,
            end,
            unread,
            says,
            http10,
        )

    def __call__(self, connection: socket.socket) -> None:
        for count in range(1, self.answers + 1):
            if count > 1 and not select.select([connection], [], [], self.idle)[0]:
                break
            if not read_request(connection):
                return
            connection.sendall(self._answer(last=count == self.answers))
        if self.unread:
            select.select([connection], [], [])
        end(connection, self.end)

    def _answer(self, last: bool) -> bytes:
        if self.http10:
            return b"HTTP/1.0 200 OK\r\n\r\ngood"
        return GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if last and self.says else GOOD


def end(connection: socket.socket, how: str) -> None:
    """Ends a connection."""
    if how == "rst":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how == "408":
        connection.sendall(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    elif how == "half":
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


class GrpcClosing:
    """A gRPC server that ends connections; a call is answered at once.

    Args:
        idle: seconds without a call after which a connection is ended.
        answers: how many calls a connection answers.
        age: seconds after which a connection is ended, in the midst of calls.
        goodbye: `none`, `one` (GOAWAY with the last stream that was answered) or `two` (first one that takes all).
        unread: whether it waits for one more call then and closes without having read it.
    """

    def __init__(
        self,
        idle: float | None = None,
        answers: int = 1 << 30,
        age: float | None = None,
        goodbye: str = "none",
        unread: bool = False,
    ) -> None:
        self.idle, self.answers, self.age, self.goodbye, self.unread = idle, answers, age, goodbye, unread

    def __call__(self, connection: socket.socket) -> None:
        frames = Frames(connection)
        connection.sendall(frame(SETTINGS, 0, 0))
        begun, count, last = time.monotonic(), 0, 0
        while count < self.answers:
            left = None if self.age is None else max(begun + self.age - time.monotonic(), 0)
            waits = [seconds for seconds in (left, self.idle if count else None) if seconds is not None]
            if not frames.ready(min(waits) if waits else None):
                break
            if stream := frames.next_call():
                connection.sendall(grpc_answer(stream))
                count, last = count + 1, stream
            elif frames.ended:
                return
        self._say_goodbye(connection, frames, last)
        if self.unread:
            select.select([connection], [], [])

    def _say_goodbye(self, connection: socket.socket, frames: "Frames", last: int) -> None:
        if self.goodbye == "two":
            connection.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", (1 << 31) - 1, 0)))
            # What was on its way is still taken.
            while frames.ready(0.1):
                if stream := frames.next_call():
                    connection.sendall(grpc_answer(stream))
                    last = stream
                elif frames.ended:
                    return
        if self.goodbye != "none":
            connection.sendall(frame(GOAWAY, 0, 0, struct.pack(">II", last, 0)))
            # Streams after it are not looked at; the client closes when it has what it waits for.
            connection.settimeout(5)
            while not frames.ended:
                frames.next_call()


def grpc_refuses(limit: int, first: int) -> Talk:
    """Answers calls after 20 ms, `limit` at a time, and refuses more; its first settings allow `first`."""

    def talk(connection: socket.socket) -> None:
        frames, open_calls, lock = Frames(connection), [], threading.Lock()  # type: ignore[var-annotated]
        connection.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, first)))
        lowered = first == limit

        def answer(stream: int) -> None:
            time.sleep(0.02)
            with lock:
                open_calls.remove(stream)
                connection.sendall(grpc_answer(stream))

        while stream := frames.next_request():
            with lock:
                if not lowered:
                    connection.sendall(frame(SETTINGS, 0, 0, struct.pack(">HI", 3, limit)))
                    lowered = True
                if len(open_calls) >= limit:
                    connection.sendall(frame(RST, 0, stream, struct.pack(">I", 7)))
                    continue
                open_calls.append(stream)
            threading.Thread(target=answer, args=(stream,), daemon=True).start()

    return talk


CLOSING: dict[str, Talk] = {
    "rest-idle-fin": Closing(idle=0.3),
    "rest-idle-rst": Closing(idle=0.3, end="rst"),
    "rest-idle-half": Closing(idle=0.3, end="half"),
    "rest-idle-408": Closing(idle=0.3, end="408"),
    "rest-20-answers": Closing(answers=20),
    "rest-20-answers-rst": Closing(answers=20, end="rst"),
    "rest-20-answers-408": Closing(answers=20, end="408"),
    "rest-20-answers-said": Closing(answers=20, says=True),
    "rest-unread": Closing(answers=2, unread=True),
    "rest-unread-rst": Closing(answers=2, unread=True, end="rst"),
    "rest-unread-408": Closing(answers=2, unread=True, end="408"),
    "rest-http10": Closing(answers=1, http10=True),
    "grpc-idle": GrpcClosing(idle=0.3),
    "grpc-20-answers": GrpcClosing(answers=20, goodbye="one"),
    "grpc-20-answers-unsaid": GrpcClosing(answers=20),
    "grpc-unread": GrpcClosing(answers=2, unread=True),
    "grpc-goodbye": GrpcClosing(age=0.7, goodbye="one"),
    "grpc-goodbye-in-two": GrpcClosing(age=0.7, goodbye="two"),
    "grpc-few": grpc_refuses(2, 2),
    "grpc-fewer": grpc_refuses(2, 100),
}


def handshake_stalls(connection: socket.socket) -> None:
    """Takes the client's first words of TLS and says nothing."""
    while connection.recv(65536):
        pass


TALKS: dict[str, Talk] = {
    **{name: flood(*how) for name, how in REST_FLOODS.items()},
    **{name: grpc_flood(*how) for name, how in GRPC_FLOODS.items()},
    **CLOSING,
    "rest-bomb": bomb,
    "never-reads": never_reads,
    "handshake-stalls": handshake_stalls,
}


def serve(talk: Talk) -> None:
    """Serves on a free port, which is printed, until the input closes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()

    def handle(connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                talk(connection)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


@contextmanager
def faulty(name: str) -> Iterator[str]:
    """`host:port` of such a server in a process of its own."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.faulty_server", name], cwd=ROOT, text=True, **pipes
    ) as process:
        try:
            yield f"127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.stdin.close()
            process.wait(30)


if __name__ == "__main__":
    serve(TALKS[sys.argv[1]])
