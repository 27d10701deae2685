"""A proxy before a good server that spoils connections, requests and answers: which, and how, is named.

`fault_proxy(FAULTS["reset"], "rest", "127.0.0.1:8501")` gives its address. It passes the first requests, so that a run
can begin, and spoils one in `every` afterwards. What it does is on the level of TCP, the same for REST and gRPC, but
for the bytes that some faults send.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

CALM: Final = 40
"""Pieces of requests that pass before the fault begins: the look at the server, the preflight, and some load."""

When = Literal["connect", "request", "answer"]
How = Literal[
    "close", "reset", "hold", "late", "slow", "half", "half-reset", "half-hold", "flip", "twice", "garbage", "other",
    "endless", "control", "goaway", "pause", "dies", "restarts", "flaps",
]  # fmt: skip

# Bytes of each protocol. HTTP/2: RFC 9113, section 4.1; a frame is length, type, flags, stream, payload.
_GOAWAY: Final = struct.pack(">I", 8)[1:] + b"\x07\x00" + bytes(4) + struct.pack(">II", 0, 0)
_PING: Final = struct.pack(">I", 8)[1:] + b"\x06\x00" + bytes(4) + bytes(8)
_SETTINGS: Final = bytes(3) + b"\x04\x00" + bytes(4)
_OTHER: Final = {"rest": _SETTINGS, "grpc": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"}
_CONTROL: Final = {"rest": b"HTTP/1.1 100 Continue\r\n\r\n", "grpc": _PING}
_GARBAGE: Final = bytes(range(255, 155, -1))
_PIECE: Final = 1 << 16
_SLOW_SECONDS: Final = 0.02
_ENDLESS: Final = frozenset({"endless", "control"})
_BYTES: Final = (
    frozenset({"flip", "twice", "other", "slow", "garbage", "goaway", "half", "half-reset", "half-hold"}) | _ENDLESS
)


@dataclass(frozen=True, slots=True)
class ProxyFault:
    """What goes wrong.

    Args:
        when: at a new connection, at a piece of a request, or at a piece of an answer.
        how: what happens there.
        every: to one of so many.
        seconds: of `late`, `pause`, `restarts` and `flaps`.
    """

    when: When
    how: How
    every: int = 1
    seconds: float = 0.0


FAULTS: Final[dict[str, ProxyFault]] = {
    "refused": ProxyFault("request", "dies"),
    "connect-close": ProxyFault("connect", "close", 2),
    "connect-reset": ProxyFault("connect", "reset", 2),
    "connect-silence": ProxyFault("connect", "hold", 2),
    "connect-garbage": ProxyFault("connect", "garbage", 2),
    "connect-other-protocol": ProxyFault("connect", "other", 2),
    "request-close": ProxyFault("request", "close"),
    "request-reset": ProxyFault("request", "reset"),
    "request-swallowed": ProxyFault("request", "hold"),
    "request-late": ProxyFault("request", "late", seconds=0.1),
    "some-request-close": ProxyFault("request", "close", 5),
    "some-request-reset": ProxyFault("request", "reset", 5),
    "some-request-swallowed": ProxyFault("request", "hold", 9),
    "answer-close": ProxyFault("answer", "close"),
    "answer-reset": ProxyFault("answer", "reset"),
    "answer-never": ProxyFault("answer", "hold"),
    "answer-late": ProxyFault("answer", "late", seconds=0.1),
    "answer-too-late": ProxyFault("answer", "late", seconds=0.8),
    "answer-slow": ProxyFault("answer", "slow"),
    "answer-half": ProxyFault("answer", "half"),
    "answer-half-reset": ProxyFault("answer", "half-reset"),
    "answer-half-stalled": ProxyFault("answer", "half-hold"),
    "answer-flipped": ProxyFault("answer", "flip"),
    "answer-twice": ProxyFault("answer", "twice"),
    "answer-garbage": ProxyFault("answer", "garbage"),
    "answer-other-protocol": ProxyFault("answer", "other"),
    "answer-endless": ProxyFault("answer", "endless"),
    "answer-endless-control": ProxyFault("answer", "control"),
    "some-answer-half": ProxyFault("answer", "half", 5),
    "some-answer-flipped": ProxyFault("answer", "flip", 5),
    "some-answer-garbage": ProxyFault("answer", "garbage", 5),
    "some-answer-reset": ProxyFault("answer", "reset", 5),
    "some-answer-endless": ProxyFault("answer", "endless", 9),
    "goaway": ProxyFault("answer", "goaway", 5),
    "pause": ProxyFault("answer", "pause", seconds=0.7),
    "restarts": ProxyFault("request", "restarts", seconds=0.4),
    "flaps": ProxyFault("connect", "flaps", seconds=0.2),
}
"""The faults by name."""


class _Ended(Exception):
    """The connection is over."""


class _Proxy:
    """The proxy in its event loop.

    Args:
        fault: what goes wrong.
        protocol: `rest` or `grpc`.
        host: the good server.
        port: its port.
    """

    def __init__(self, fault: ProxyFault, protocol: str, host: str, port: int) -> None:
        self._fault = fault
        self._protocol = protocol
        self._behind = (host, port)
        self._seen = 0
        self._events = 0
        self._since = 0.0
        self._open: set[asyncio.StreamWriter] = set()
        self.listener: asyncio.Server | None = None

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """One connection to its end."""
        self._open.add(answer)
        with contextlib.ExitStack() as closing, contextlib.suppress(_Ended, OSError, asyncio.CancelledError):
            closing.callback(answer.close)
            closing.callback(self._open.discard, answer)
            if self._due("connect"):
                await self._do(answer, b"")
            server, request = await asyncio.open_connection(*self._behind)
            closing.callback(request.close)
            ways = (self._pass(client, request, answer, "request"), self._pass(server, answer, answer, "answer"))
            tasks = [asyncio.ensure_future(way) for way in ways]
            for task in tasks:
                closing.callback(task.cancel)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, client: asyncio.StreamWriter, when: When
    ) -> None:
        with contextlib.suppress(_Ended, OSError):
            while data := await source.read(_PIECE):
                self._seen += when == "request"
                if self._due(when):
                    data = await self._do(client, data)
                sink.write(data)
                await sink.drain()

    def _due(self, when: When) -> bool:
        """Whether the fault happens now."""
        if when != self._fault.when or self._seen < CALM:
            return False
        self._since = self._since or time.monotonic()
        self._events += 1
        return self._events % self._fault.every == 0

    async def _do(self, client: asyncio.StreamWriter, data: bytes) -> bytes:
        """The fault; returns what is passed on."""
        how, seconds = self._fault.how, self._fault.seconds
        passed = time.monotonic() - self._since
        if how in _BYTES:
            return await self._send_bytes(client, data)
        if how == "close":
            raise _Ended
        if how == "hold":
            await asyncio.Event().wait()
        elif how in ("late", "pause"):
            await asyncio.sleep(seconds if how == "late" else max(0.0, seconds - passed))
        elif how == "dies":
            self._die()
        elif how == "reset" or self._is_away(passed):
            self._reset(client)
        return data

    def _is_away(self, passed: float) -> bool:
        """Whether the server is away for the moment, so many seconds after the fault began."""
        how, seconds = self._fault.how, self._fault.seconds
        return (how == "restarts" and passed < seconds) or (how == "flaps" and passed // seconds % 2 < 1)

    async def _send_bytes(self, client: asyncio.StreamWriter, data: bytes) -> bytes:
        """A fault in the bytes; returns what is passed on."""
        how = self._fault.how
        if how == "flip":
            place = len(data) * 3 // 4
            return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        if how in ("twice", "other"):
            return data + data if how == "twice" else _OTHER[self._protocol] + data
        if how == "slow":
            for byte in data:
                await self._send(client, bytes([byte]))
                await asyncio.sleep(_SLOW_SECONDS)
            return b""
        while how in _ENDLESS:
            await self._send(client, data + bytes(_PIECE) if how == "endless" else _CONTROL[self._protocol] * 100)
        ending = _GOAWAY if self._protocol == "grpc" else b""
        sent = {"garbage": _GARBAGE, "goaway": data + ending}
        await self._send(client, sent.get(how, data[: len(data) // 2]))
        if how == "half-hold":
            await asyncio.Event().wait()
        if how == "half-reset":
            self._reset(client)
        raise _Ended

    async def _send(self, client: asyncio.StreamWriter, data: bytes) -> None:
        client.write(data)
        await client.drain()

    def _reset(self, client: asyncio.StreamWriter) -> None:
        connection = client.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.transport.abort()
        raise _Ended

    def _die(self) -> None:
        """Nobody listens any more, and what was open is reset."""
        assert self.listener is not None
        self.listener.close()
        for client in list(self._open):
            with contextlib.suppress(_Ended, OSError):
                self._reset(client)
        raise _Ended


@contextlib.contextmanager
def fault_proxy(fault: ProxyFault, protocol: str, behind: str) -> Iterator[str]:
    """`host:port` of the proxy, which runs in a thread.

    Args:
        fault: what goes wrong.
        protocol: `rest` or `grpc`.
        behind: `host:port` of the good server.
    """
    host, _, port = behind.rpartition(":")
    loop = asyncio.new_event_loop()
    proxy = _Proxy(fault, protocol, host, int(port))

    async def listen() -> int:
        proxy.listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, backlog=512)
        return int(proxy.listener.sockets[0].getsockname()[1])

    async def end() -> None:
        assert proxy.listener is not None
        proxy.listener.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The transports close in the loop's next turns.
        await asyncio.sleep(0.01)

    own = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{own}"
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
