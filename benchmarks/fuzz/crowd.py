"""Connections that are idle, slow or do not read: `python -m benchmarks.fuzz.crowd GRPC_ADDRESS REST_ADDRESS`.

Half of them go to each address. They stay until standard input ends. Each line of it is answered when it is done: `on`
lets the slow ones send a byte each half second, and makes those that do not read anew if the server may have given them
up; `off` lets all be silent.

Those that do not read ask for more than the buffers of both systems take over REST, and open no window over gRPC: the
server is left with output.
"""

import resource
import socket
import sys
import threading
import time
from contextlib import suppress
from itertools import islice
from typing import Final

from bench.serving.http2.frames import DATA, PREFACE, connection_preface, frame
from benchmarks.fuzz.http2_attacks import ATTACKS, zero_windows

IDLE, SLOW, DEAF = 2000, 200, 50
_SLOW_SECONDS: Final = 0.5
# Bytes of answers that fit into a client's buffer; frames of a gRPC client, each but the first a call.
_ROOM, _FRAMES = 4096, 200
# Requests whose answers repeat them, a megabyte each: more than Linux buffers for a connection (tcp_wmem).
_ECHOED: Final = b'{"instances": "' + b"x" * 1_000_000 + b'"}'
_ECHOES: Final = b"POST /v1/models/bert:predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(_ECHOED), _ECHOED) * 6
# The server ends a connection whose client takes nothing for 30 s.
_DEAF_SECONDS: Final = 20.0
_REQUEST: Final = b"POST /v1/models/bert:predict HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000
_GREETING: Final = PREFACE + connection_preface() + next(ATTACKS["open_streams"]()) + frame(DATA, 0, 1, bytes(16384))


def _connect(place: str, room: int | None = None) -> socket.socket:
    """A connection; `room` bytes of answers that are not read fit into the client's buffer."""
    host, _, port = place.rpartition(":")
    made = socket.socket()
    made.settimeout(10)
    if room:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    made.connect((host, int(port)))
    return made


def deaf_requests(grpc: bool) -> bytes:
    """What a client sends that does not read."""
    return PREFACE + b"".join(islice(zero_windows(), _FRAMES)) if grpc else _ECHOES


class Crowd:
    """The connections, silent at first.

    Args:
        places: addresses of gRPC and of REST.
    """

    def __init__(self, places: tuple[str, str]) -> None:
        self._places = places
        self.idle = [_connect(places[place % 2]) for place in range(IDLE)]
        self.slow = [_connect(places[place % 2]) for place in range(SLOW)]
        self.deaf: list[socket.socket] = []
        self._asked_at = -_DEAF_SECONDS
        self._sent = 0
        self._silent, self._over = threading.Event(), threading.Event()
        self._silent.set()
        self._thread = threading.Thread(target=self._dribble)
        self._thread.start()

    def on(self) -> None:
        """The slow ones send, and as many as before do not read."""
        self._silent.clear()
        if time.monotonic() - self._asked_at > _DEAF_SECONDS:
            for connection in self.deaf:
                connection.close()
            self.deaf = [self._ask(place) for place in range(DEAF)]
            self._asked_at = time.monotonic()

    def off(self) -> None:
        """No one sends."""
        self._silent.set()

    def close(self) -> None:
        """Ends the thread; the connections end with the process."""
        self._over.set()
        self._thread.join()

    def _ask(self, place: int) -> socket.socket:
        """A connection that asks for much and reads nothing."""
        connection = _connect(self._places[place % 2], _ROOM)
        with suppress(TimeoutError):
            connection.sendall(deaf_requests(place % 2 == 0))
        return connection

    def _dribble(self) -> None:
        """Sends a byte of a request on each slow connection, and again."""
        while not self._over.wait(_SLOW_SECONDS):
            if self._silent.is_set():
                continue
            for place, connection in enumerate(self.slow):
                message = _REQUEST if place % 2 else _GREETING
                at = self._sent % len(message)
                with suppress(OSError):
                    connection.sendall(message[at : at + 1])
            self._sent += 1


def main(grpc: str, rest: str) -> None:
    """Makes the connections, says so, and does as it is told."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd((grpc, rest))
    crowd.on()
    print(f"{len(crowd.idle)} idle, {len(crowd.slow)} slow, {len(crowd.deaf)} that do not read", flush=True)
    for line in sys.stdin:
        {"on": crowd.on, "off": crowd.off}[line.strip()]()
        print(line.strip(), flush=True)
    crowd.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
