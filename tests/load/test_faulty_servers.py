"""The fast transports against servers that close connections, stall and flood: `tests.support.faulty_server`."""

import contextlib
import gc
import gzip
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
import pytest

from bench.load.transports import grpc_h2_connection
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import TransportPool
from bench.serving.access import DIRECT, Access
from bench.serving.errors import ConnectFailed, DeadlineExceeded, InvalidResponse, Rejected, ServingError, Unavailable
from bench.serving.headers import Headers
from bench.serving.tls import TlsOptions
from tests.load.test_transports import raw_server
from tests.support.faulty_server import (
    CLOSING,
    GRPC_FLOODS,
    REST_FLOODS,
    SETTINGS,
    WINDOW,
    faulty,
    frame,
    read_request,
)
from tests.support.programmed_servers import rest_server

ROOT = Path(__file__).parents[2]
TLS = Path(__file__).parent / "tls"
TIMEOUT = 0.5
# More than a busy machine takes, and far less than a flood that is read to its end.
GENEROUS = 10.0
SLOW = [name for name, (_, _, pause) in {**REST_FLOODS, **GRPC_FLOODS}.items() if pause]
FLOODS = [name for name in (*REST_FLOODS, *GRPC_FLOODS, "rest-bomb") if name not in SLOW]


def gzipped(body: bytes) -> bytes:
    """Without the time, which would give each process of the tests another test id."""
    return gzip.compress(body, mtime=0)


def endpoint(name: Any, address: str, secure: Any = False) -> Endpoint:
    access = Access(tls=TlsOptions(ca=TLS / "ca.pem")) if secure else DIRECT
    if name.startswith("rest"):
        return Endpoint(rest=f"http{'s' if secure else ''}://{address}", path="/v1/models/bert:predict", access=access)
    return Endpoint(grpc=address, grpc_secure=secure, access=access)


def transport_to(name: Any, address: str, client: str = "fast", **fields: Any) -> Any:
    protocol = "rest" if name.startswith("rest") else "grpc"
    return TransportPool(endpoint(name, address, **fields), {protocol: client}).make(protocol)


def failed(transport: Any, body: bytes = b"question") -> Any:
    """How an exchange failed, within the timeout and some."""
    started = time.perf_counter()
    with pytest.raises(ServingError) as caught:
        transport.exchange(body, TIMEOUT)
    assert time.perf_counter() - started < TIMEOUT + GENEROUS
    return caught.value


@pytest.mark.parametrize("name", ["rest-20-answers", "grpc-20-answers"])
def test_an_answer_that_came_in_time_is_no_timeout_however_late_the_user_runs(name: str) -> None:
    """The load generator's own delay is not the server's: over gRPC the answer counted as a timeout."""
    with faulty(name) as address, closing(transport_to(name, address)) as transport:
        assert transport.exchange(b"question", 30) == b"good"
        connection = getattr(transport, "_socket", None) or transport.exchange.__self__._link._socket
        user = gevent.spawn(transport.exchange, b"question", 0.2)
        gevent.sleep(0)
        # Nothing of gevent runs meanwhile. A REST user may have its answer already.
        assert user.ready() or select.select([connection.fileno()], [], [], 60)[0]
        time.sleep(0.25)
        assert user.get() == b"good"


@pytest.mark.parametrize("name", SLOW)
def test_what_comes_too_slowly_is_a_timeout(name: Any) -> None:
    with faulty(name) as address:
        transport = transport_to(name, address)
        assert transport.exchange(b"question", 30) == b"good"
        error = failed(transport)
        # Bytes of zero are frames in the end, and make no sense.
        assert isinstance(error, DeadlineExceeded if name != "grpc-byte-by-byte" else ServingError)
        assert isinstance(error, DeadlineExceeded | InvalidResponse)


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_in_time(name: Any) -> None:
    """By its size or by what it is; where the machine is slow, by the timeout."""
    with faulty(name) as address:
        transport = transport_to(name, address)
        if name != "rest-bomb":
            assert transport.exchange(b"question", 30) == b"good"
        assert isinstance(failed(transport), InvalidResponse | DeadlineExceeded)


@pytest.mark.parametrize("name", ["rest", "grpc"])
@pytest.mark.parametrize(
    ("server", "secure", "size"), [("never-reads", False, 30_000_000), ("handshake-stalls", True, 9)]
)
def test_a_server_that_takes_nothing(
    name: str, server: str, secure: bool, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    with faulty(server) as address, warnings.catch_warnings():
        # Left to the garbage collector: the socket of a handshake that was not over.
        warnings.simplefilter("error", ResourceWarning)
        unraisable: list[Any] = []
        monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
        assert isinstance(failed(transport_to(name, address, secure=secure), bytes(size)), DeadlineExceeded)
        gc.collect()
        assert not unraisable


@pytest.mark.parametrize("name", ["rest-small-chunks", "grpc-small-data"])
def test_others_have_their_turn_during_a_flood(name: str) -> None:
    """All that arrives is there at once, so that a client which reads on until there is nothing would never stop."""
    done = 0

    def other(transport: Any) -> None:
        nonlocal done
        while True:
            assert transport.exchange(b"question", 30) == b"good"
            done += 1

    with faulty(name) as address, faulty("rest-20-answers") as other_address:
        transport = TransportPool(
            Endpoint(
                rest=f"http://{address}" if name.startswith("rest") else None,
                grpc=None if name.startswith("rest") else address,
                max_response=1 << 40,
            )
        ).make("rest" if name.startswith("rest") else "grpc")
        assert transport.exchange(b"question", 30) == b"good"
        user = gevent.spawn(other, transport_to("rest", other_address))
        with pytest.raises(DeadlineExceeded):
            transport.exchange(b"question", 1.0)
        user.kill()
    assert done >= 3


MEMORY = """
import sys, gevent
from tests.support.faulty_server import faulty
from tests.load.test_faulty_servers import transport_to
from bench.serving.errors import ServingError

def ask(transport):
    try:
        transport.exchange(b"question", 20)
        if name != "rest-bomb":
            transport.exchange(b"question", 2)
    except ServingError:
        pass

for name in ("rest-large", "rest-large-chunks", "rest-until-closed", "rest-bomb", "grpc-large", "grpc-references"):
    with faulty(name) as address:
        gevent.joinall([gevent.spawn(ask, transport_to(name, address)) for _ in range(8)], raise_error=True)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_answers_of_a_gigabyte_to_eight_users_take_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=200, check=True, cwd=ROOT
    )
    assert int(done.stdout) * 1024 < 300e6


def test_the_largest_answer_can_be_set() -> None:
    with rest_server(lambda *_: (200, bytes(2000))) as url:
        for most, error in ((2000, None), (1999, "more than 2 kB")):
            transport = TransportPool(Endpoint(rest=url, path="/x", max_response=most)).make("rest")
            if error is None:
                assert transport.exchange(b"x", 30) == bytes(2000)
            else:
                with pytest.raises(InvalidResponse, match=error):
                    transport.exchange(b"x", 30)


@pytest.mark.parametrize("name", [name for name in CLOSING if "idle" in name])
def test_idle_connections_that_the_server_ends(name: Any) -> None:
    """Around the moment at which it does; a half-closed one is read on, so that there only its end is certain."""
    pauses = (0.6, 0.6) if name == "rest-idle-half" else (0.25, 0.3, 0.3001, 0.301, 0.35, 0.6)
    with faulty(name) as address:
        transport = transport_to(name, address)
        for pause in (0.0, *pauses):
            gevent.sleep(pause)
            assert transport.exchange(b"question", 30) == b"good"


@pytest.mark.parametrize("name", [name for name in CLOSING if "idle" not in name and "unread" not in name])
@pytest.mark.parametrize("pause", [0.0, 0.005])
def test_connections_that_the_server_ends_in_the_midst_of_load(name: Any, pause: float) -> None:
    """One user without a pause: the next request goes while the server closes. Several on a shared connection."""
    most = 20 if name.startswith("grpc-few") else 90
    users = 1 if name.endswith("unsaid") or name.startswith("rest") else 4
    ends = time.perf_counter() + (1.6 if "goodbye" in name else 0.0)

    def user(transport: Any) -> None:
        count = 0
        while count < most or time.perf_counter() < ends:
            assert transport.exchange(b"question", 30) == b"good"
            count += 1
            gevent.sleep(pause)

    with faulty(name) as address:
        pool = TransportPool(endpoint(name, address))
        transports = [pool.make("rest" if name.startswith("rest") else "grpc") for _ in range(users)]
        gevent.joinall([gevent.spawn(user, each) for each in transports], raise_error=True)
        pool.close()


@pytest.mark.parametrize("name", [name for name in CLOSING if "unread" in name])
def test_what_the_server_closed_without_having_read_it_is_sent_again(name: Any) -> None:
    """The server waits for the request and closes without reading: no look at the connection before could tell."""
    with faulty(name) as address:
        transport = transport_to(name, address)
        for _ in range(9):
            assert transport.exchange(b"question", 30) == b"good"


@pytest.mark.parametrize("fresh", [True, False])
def test_what_the_server_has_read_is_not_sent_again(fresh: bool) -> None:
    """It may have been processed: that there is no answer is the server's failure."""
    seen = []

    def talk(connection: socket.socket) -> None:
        while body := read_request(connection):
            seen.append(body)
            if body == b"drop":
                return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")

    with raw_server(talk) as url:
        transport = transport_to("rest", url.removeprefix("http://"))
        if not fresh:
            assert transport.exchange(b"first", 30) == b"good"
        with pytest.raises(ConnectFailed, match="closed the connection without an answer"):
            transport.exchange(b"drop", 30)
        assert transport.exchange(b"next", 30) == b"good"
        transport.close()
    assert seen.count(b"drop") == 1


def test_an_answer_that_broke_off_is_not_asked_for_again() -> None:
    seen = []

    def talk(connection: socket.socket) -> None:
        while body := read_request(connection):
            seen.append(body)
            whole = body != b"cut"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + (b"good" if whole else b"go"))
            if not whole:
                return

    with raw_server(talk) as url:
        transport = transport_to("rest", url.removeprefix("http://"))
        assert transport.exchange(b"first", 30) == b"good"
        with pytest.raises(InvalidResponse, match="broken answer"):
            transport.exchange(b"cut", 30)
    assert seen == [b"first", b"cut"]


def test_bytes_after_an_answer_belong_to_no_other() -> None:
    """Some servers say why they close a connection on which nobody asked them anything."""
    extra = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def talk(connection: socket.socket) -> None:
        while body := read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body + extra)

    with raw_server(talk) as url:
        transport = transport_to("rest", url.removeprefix("http://"))
        assert [transport.exchange(b"%d" % index, 30) for index in range(3)] == [b"0", b"1", b"2"]
        transport.close()


def test_an_answer_to_a_request_that_the_server_does_not_want_to_read() -> None:
    """It says why, and closes; the rest of the request cannot be sent any more."""

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.recv(1000)
        text = b'{"error": "too much"}'
        # One segment: with data unread, closing discards what is still waiting to be sent.
        head = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(text) + text)

    with raw_server(talk) as url, pytest.raises(Rejected, match="HTTP 413: too much"):
        transport_to("rest", url.removeprefix("http://")).exchange(bytes(20_000_000), 30)


def test_headers_given_by_the_user_stand_instead_of_the_usual_ones() -> None:
    seen = []

    def answer(method: str, path: str, body: bytes, handler: Any) -> Any:
        seen.append((handler.headers.get_all("Accept-Encoding"), handler.headers.get_all("Content-Type")))
        return 200, gzipped(PLAIN), {"Content-Encoding": "gzip"}

    with rest_server(answer) as url:
        access = Access(Headers([("accept-encoding", "gzip"), ("CONTENT-TYPE", "text/plain")]))
        transport = TransportPool(Endpoint(rest=url, path="/", access=access)).make("rest")
        assert transport.exchange(b"x", 30) == PLAIN
    assert seen == [(["gzip"], ["text/plain"])]


def raw_deflate(body: bytes) -> Any:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


PLAIN = b'{"predictions": [[-1.5]]}' * 5000


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzipped(PLAIN)),
        ("x-gzip", gzipped(PLAIN)),
        ("GZIP", gzipped(PLAIN[:1000]) + gzipped(PLAIN[1000:])),
        ("deflate", zlib.compress(PLAIN)),
        ("deflate", raw_deflate(PLAIN)),
        ("identity", PLAIN),
        ("deflate, gzip", gzipped(zlib.compress(PLAIN))),
    ],
)
@pytest.mark.parametrize("client", ["fast", "requests"])
def test_answers_that_are_packed_though_nobody_asked(client: str, coding: str, body: Any) -> None:
    asked = []

    def answer(method: str, path: str, sent: Any, handler: Any) -> Any:
        asked.append(handler.headers["Accept-Encoding"])
        return 200, body, {"Content-Encoding": coding}

    with rest_server(answer) as url:
        transport = transport_to("rest", url.removeprefix("http://"), client)
        assert [transport.exchange(b"x", 30) for _ in range(2)] == [PLAIN, PLAIN]
    assert asked == ["identity"] * 2


@pytest.mark.parametrize(
    ("status", "coding", "body", "error", "text"),
    [
        (200, "br", b"\x0b\x02", InvalidResponse, "'br'"),
        (200, "zstd", b"?", InvalidResponse, "'zstd'"),
        pytest.param(200, ",".join(["gzip"] * 2000), gzipped(PLAIN), InvalidResponse, "2,000 content", id="many"),
        (200, "gzip", b"not packed", InvalidResponse, "not valid gzip"),
        (200, "gzip", gzipped(PLAIN)[:-9], InvalidResponse, "not valid gzip .it is truncated"),
        (200, "gzip", b"", InvalidResponse, "not valid gzip .it is truncated"),
        (200, "gzip", gzipped(PLAIN) + b"more", InvalidResponse, "not valid gzip"),
        pytest.param(200, "gzip", gzipped(bytes(9_000_000)), InvalidResponse, "more than 8 MB", id="large"),
        (200, "deflate", b"\xff\xff\xff", InvalidResponse, "not valid deflate"),
        (503, "gzip", gzipped(b'{"error": "no room"}'), Unavailable, "no room"),
        (503, "gzip", b"not packed", Unavailable, "HTTP 503"),
        pytest.param(503, "gzip", gzipped(bytes(9_000_000)), Unavailable, "HTTP 503", id="large error"),
        (503, "br", b"\x0b\x02", Unavailable, "HTTP 503"),
    ],
)
@pytest.mark.parametrize("client", ["fast", "requests"])
def test_packed_answers_that_cannot_be_read_or_are_errors(
    client: str, status: int, coding: str, body: Any, error: Any, text: str
) -> None:
    server = rest_server(lambda *_: (status, body, {"Content-Encoding": coding}))
    with server as url, closing(transport_to("rest", url.removeprefix("http://"), client)) as transport:
        with pytest.raises(error, match=text) as caught:
            transport.exchange(b"x", 30)
        assert type(caught.value) is error


@contextlib.contextmanager
def tls_server(talk: Any) -> Iterator[Any]:
    """A server of this process that talks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    context.set_alpn_protocols(["h2", "http/1.1"])

    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            talk(secured)

    def accept(listener: Any) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("name", ["rest-20-answers", "rest-unread", "rest-unread-408", "grpc-unread", "grpc-goodbye"])
def test_encrypted_connections_that_the_server_ends(name: str) -> None:
    with tls_server(CLOSING[name]) as address:
        transport = transport_to(name, address, secure=True)
        for _ in range(45):
            assert transport.exchange(b"question", 30) == b"good"
            gevent.sleep(0.02)
        transport.close()


def test_a_server_that_stopped_reading_gets_a_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be sent on the old one would only grow."""
    monkeypatch.setattr(grpc_h2_connection, "_STUCK_AFTER", 0.1)
    held = []
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        held.append(connection)
        if len(held) > 1:
            CLOSING["grpc-20-answers"](connection)
            return
        wide = struct.pack(">HI", 4, (1 << 31) - 1)
        connection.sendall(frame(SETTINGS, 0, 0, wide) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)))
        over.wait(60)

    with tls_server(talk) as address:
        transport = transport_to("grpc", address, secure=True)
        assert isinstance(failed(transport, bytes(30_000_000)), DeadlineExceeded)
        # On a busy machine the handshake took the time, or the last bytes that the kernel took are more recent.
        while (link := transport.exchange.__self__._link) is None:
            failed(transport, bytes(30_000_000))
        while link.usable:
            gevent.sleep(0.05)
        assert transport.exchange(b"question", 30) == b"good"
        over.set()
    assert len(held) == 2
