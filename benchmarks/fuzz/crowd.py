"""Connections that are idle, slow or do not read: `python -m benchmarks.fuzz.crowd GRPC_ADDRESS REST_ADDRESS`.

Half of them go to each address. They stay until standard input ends.
"""

import resource
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Final

from bench.serving.http2.frames import PREFACE, connection_preface
from benchmarks.fuzz.http2_attacks import ATTACKS, unread_answers

IDLE, SLOW, DEAF = 2000, 200, 50
_SLOW_SECONDS: Final = 0.5
# More answers than fit into both sides' buffers, and seconds in which they are made.
_ASKED, _ROOM, _SETTLING_SECONDS = 200, 4096, 3.0
_REQUEST: Final = b"POST /v1/models/bert:predict HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000
_GREETING: Final = PREFACE + connection_preface() + next(ATTACKS["open_streams"]())


def _connect(place: str, room: int | None = None) -> socket.socket:
    """A connection; `room` bytes of answers that are not read fit into the client's buffer."""
    host, _, port = place.rpartition(":")
    made = socket.socket()
    made.settimeout(10)
    if room:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    made.connect((host, int(port)))
    return made


def _dribble(connections: list[socket.socket], over: threading.Event) -> None:
    """Sends a byte of a request on each connection, and again."""
    at = 0
    while not over.wait(_SLOW_SECONDS):
        for place, connection in enumerate(connections):
            message = _REQUEST if place % 2 else _GREETING
            with suppress(OSError):
                connection.sendall(message[at % len(message) : at % len(message) + 1])
        at += 1


def main(grpc: str, rest: str) -> None:
    """Makes the connections, says so, and holds them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    places = (grpc, rest)
    idle = [_connect(places[place % 2]) for place in range(IDLE)]
    slow = [_connect(places[place % 2]) for place in range(SLOW)]
    deaf = [_connect(places[place % 2], _ROOM) for place in range(DEAF)]
    for place, connection in enumerate(deaf):
        connection.setblocking(False)
        frames = unread_answers()
        ask = b"GET /v1/models/bert/metadata HTTP/1.1\r\n\r\n" * _ASKED
        greeting = PREFACE + connection_preface() + b"".join(next(frames) for _ in range(_ASKED))
        with suppress(BlockingIOError):
            connection.send(ask if place % 2 else greeting)
    over = threading.Event()
    dribbling = threading.Thread(target=_dribble, args=(slow, over))
    dribbling.start()
    time.sleep(_SETTLING_SECONDS)
    print(f"{len(idle)} idle, {len(slow)} slow, {len(deaf)} that do not read", flush=True)
    sys.stdin.read()
    over.set()
    dribbling.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
