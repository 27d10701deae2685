"""How requests travel, against small servers that run in threads."""

import contextlib
import errno
import functools
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import gevent
import pytest

from bench.core.errors import UsageError
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import TransportPool
from bench.server.running import free_ports
from bench.serving.access import Access
from bench.serving.bounded_http import open_connection
from bench.serving.errors import (
    ConnectFailed,
    DeadlineExceeded,
    InvalidResponse,
    Lack,
    OwnLimit,
    Rejected,
    ServerFailed,
    Unavailable,
)
from bench.serving.headers import Headers
from bench.serving.tls import TlsOptions
from tests.support.faulty_server import faulty, read_request
from tests.support.programmed_servers import rest_server

TLS = Path(__file__).parent / "tls"
TRUSTED = TlsOptions(ca=TLS / "ca.pem")


@pytest.fixture(params=["fast", "requests"])
def rest_kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def rest(url: str, kind: str = "fast", **fields: Any) -> Any:
    return TransportPool(Endpoint(rest=url, path="/v1/models/bert:predict", **fields), {"rest": kind}).make("rest")


def test_a_request_arrives_as_it_is_and_the_connection_is_kept(rest_kind: str) -> None:
    seen = []

    def answer(method: str, path: str, body: bytes, handler: Any) -> Any:
        seen.append(
            (method, path, body, handler.headers["X-Team"], handler.headers["Content-Type"], handler.client_address)
        )
        return 200, b"answer to " + body

    with rest_server(answer) as url:
        transport = rest(url, rest_kind, access=Access(Headers([("X-Team", "search")])))
        assert [transport.exchange(b"%d" % index, 5) for index in range(3)] == [b"answer to %d" % i for i in range(3)]
        transport.close()
    assert [entry[:5] for entry in seen] == [
        ("POST", "/v1/models/bert:predict", b"%d" % index, "search", "application/json") for index in range(3)
    ]
    assert len({entry[5] for entry in seen}) == 1


@pytest.mark.parametrize(
    ("number", "lack"),
    [(errno.EMFILE, Lack.FILES), (errno.ENFILE, Lack.FILES_OF_ALL), (errno.EADDRNOTAVAIL, Lack.PORTS)],
)
@pytest.mark.parametrize("kind", ["fast", "requests", "grpc"])
def test_what_this_machine_lacks_is_not_the_server_s_failure(
    monkeypatch: pytest.MonkeyPatch, kind: str, number: int, lack: Lack
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("bench.load.transports.tcp.open_connection", refuse)
    monkeypatch.setattr("bench.serving.bounded_http.open_connection", refuse)
    grpc = kind == "grpc"
    transport: Any = (
        TransportPool(Endpoint(grpc="127.0.0.1:9")).make("grpc") if grpc else rest("http://127.0.0.1:9", kind)
    )
    with pytest.raises(OwnLimit, match=rf"^no connection to 127.0.0.1:9: this machine has no more {lack}; ") as found:
        transport.exchange(b"x", 5)
    transport.close()
    assert found.value.lack is lack


def test_a_lack_of_memory_for_an_answer_is_not_the_server_s_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def receive(*_: object) -> NoReturn:
        raise MemoryError

    monkeypatch.setattr("bench.serving.http2.client.ClientConnection.receive", receive)
    with faulty("grpc-20-answers") as address:
        transport = TransportPool(Endpoint(grpc=address)).make("grpc")
        with pytest.raises(OwnLimit, match="no more memory"):
            transport.exchange(b"x", 30)


class Sockets:
    """As the module `socket`, with addresses whose connections fail in TCP, and in UDP, with these errors.

    0 stands for none, -1 for an address that is silent.

    Attributes:
        seconds: limits of time.
        left: sockets that are open.
    """

    SOCK_STREAM, SOCK_DGRAM, IPPROTO_TCP, TCP_NODELAY = 1, 2, 6, 1

    def __init__(self, *fates: tuple[int, int]) -> None:
        self.fates = fates
        self.seconds: list[Any] = []
        self.left = 0

    def getaddrinfo(self, *_: Any) -> Any:
        return [(2, 1, 6, "", fate) for fate in self.fates]

    def socket(self, _: Any, kind: int, *__: Any) -> Any:
        sockets = self

        class Socket:
            def __init__(self) -> None:
                sockets.left += 1

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: Any) -> None:
                self.close()

            def close(self) -> None:
                sockets.left -= 1

            def setsockopt(self, *_: Any) -> None:
                pass

            def settimeout(self, seconds: Any) -> None:
                sockets.seconds.append(seconds)

            def connect(self, fate: Any) -> None:
                if number := fate[kind == sockets.SOCK_DGRAM]:
                    if number == -1:
                        raise TimeoutError("timed out")
                    raise OSError(number, os.strerror(number))

        return Socket()


REFUSED, NO_PORT, NO_IPV6 = (errno.ECONNREFUSED, 0), (errno.EADDRNOTAVAIL, 0), (errno.EADDRNOTAVAIL,) * 2
SILENT, REACHED = (-1, 0), (0, 0)
NO_ROUTE, NO_FILE = (errno.ENETUNREACH,) * 2, (errno.EMFILE, errno.EMFILE)


@pytest.mark.parametrize(
    ("fates", "error"),
    [
        ([REFUSED, NO_IPV6], errno.ECONNREFUSED),
        ([NO_IPV6, REFUSED], errno.ECONNREFUSED),
        ([NO_IPV6], errno.ENETUNREACH),
        ([REFUSED, NO_ROUTE], errno.ECONNREFUSED),
        ([NO_PORT, REFUSED], errno.EADDRNOTAVAIL),
        ([REFUSED, NO_PORT], errno.EADDRNOTAVAIL),
        ([NO_FILE, REFUSED], errno.EMFILE),
        ([], None),
        ([REFUSED, NO_IPV6, (0, 0)], 0),
    ],
)
def test_the_error_is_of_an_address_that_this_machine_can_reach(fates: Any, error: Any) -> None:
    """Without IPv6, ::1 as the last address of localhost seemed to be a lack of ports, whoever had refused."""
    sockets, left = Sockets(*fates), iter([0.9, 0.8, 0.7])
    if error == 0:
        open_connection(sockets, "name", 80, lambda: next(left)).close()
        # All addresses share the time.
        assert sockets.seconds == [0.9, 0.8, 0.7, 0.7]
    else:
        with pytest.raises(OSError, match=r"\S") as caught:
            open_connection(sockets, "name", 80, lambda: next(left))
        assert caught.value.errno == error
    assert sockets.left == 0


@pytest.mark.parametrize(
    ("fates", "limits", "seconds", "reached"),
    [
        ([SILENT, REACHED, REFUSED], [9.0, 8.0], [1.0, 1.0, 8.0], True),
        ([SILENT, REACHED], [None, None], [1.0, 1.0, None], True),
        ([SILENT, REFUSED], [9.0, 8.0, 7.0], [1.0, 1.0, 7.0], False),
        ([REFUSED, SILENT], [9.0, 8.0], [1.0, 8.0], False),
        ([SILENT], [9.0], [9.0], False),
        ([REACHED], [None], [None, None], True),
    ],
)
def test_a_silent_address_is_left_for_the_next(fates: Any, limits: Any, seconds: Any, reached: bool) -> None:
    """It gets the rest of the time once the others have failed; a name's IPv6 address may be out of reach."""
    sockets, left = Sockets(*fates), iter(limits)
    if reached:
        open_connection(sockets, "name", 80, lambda: next(left)).close()
    else:
        with pytest.raises(TimeoutError, match="timed out"):
            open_connection(sockets, "name", 80, lambda: next(left))
    assert sockets.seconds == seconds
    assert sockets.left == 0


def test_a_server_that_accepts_no_connection_gives_no_answer_in_time(rest_kind: str) -> None:
    """It is of one kind with each client; for `requests` there was no connection."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(6):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        with pytest.raises(DeadlineExceeded, match=r"within 0\.2 s"):
            rest(f"http://127.0.0.1:{address[1]}", rest_kind).exchange(b"x", 0.2)


def test_gzipped_bodies_say_so(rest_kind: str) -> None:
    with rest_server(lambda method, path, body, handler: (200, handler.headers["Content-Encoding"].encode())) as url:
        assert rest(url, rest_kind, compressed=True).exchange(b"x", 5) == b"gzip"


def test_bytes_of_a_head_that_are_not_utf_8_are_no_fault(rest_kind: str) -> None:
    def answer(method: str, path: str, body: bytes, handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 caf\xe9\r\nServer: caf\xe9\xff\r\nContent-Length: 2\r\n\r\n{}")

    with rest_server(answer) as url:
        assert rest(url, rest_kind).exchange(b"x", 5) == b"{}"


def test_large_and_chunked_answers(rest_kind: str) -> None:
    """Trailers say nothing of the coding."""
    large = bytes(range(256)) * 8000

    def answer(method: str, path: str, body: bytes, handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(large), 100_000):
            part = large[start : start + 100_000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\nContent-Encoding: gzip\r\n\r\n")

    with rest_server(answer) as url:
        assert rest(url, rest_kind).exchange(b"x", 10) == large


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, Rejected), (404, Rejected), (500, ServerFailed), (503, Unavailable), (504, DeadlineExceeded)],
)
def test_statuses(rest_kind: str, status: int, error: Any) -> None:
    with rest_server(lambda *_: (status, b'{"error": "because"}')) as url:
        transport = rest(url, rest_kind)
        for _ in range(2):
            with pytest.raises(error, match="because"):
                transport.exchange(b"x", 5)


@contextmanager
def raw_server(talk: Any, secure: bool = False) -> Iterator[Any]:
    """Handles each connection with `talk(connection)`, again and again until it raises or returns True."""
    listener = socket.create_server(("127.0.0.1", 0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if not secure:
                with connection:
                    talk(connection)
                continue
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                talk(secured)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if secure else ''}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", ConnectFailed),
        (HEAD + b"ab", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Le", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", InvalidResponse),
        (b"HTTP/1.1 200 OK", (InvalidResponse, ConnectFailed)),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", InvalidResponse),
        (b"hello\r\n\r\n", (InvalidResponse, ConnectFailed)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", InvalidResponse),
    ],
)
def test_connections_that_break(rest_kind: str, reply: bytes, error: Any) -> None:
    def talk(connection: socket.socket) -> None:
        received = b""
        while not received.endswith(b"body"):
            received += connection.recv(65536)
        connection.sendall(reply)

    with raw_server(talk) as url:
        transport = rest(url, rest_kind)
        for _ in range(2):
            with pytest.raises(error):
                transport.exchange(b"body", 5)


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked"])
def test_a_transfer_coding_that_requests_does_not_decode_is_no_answer(coding: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b\r\n\r\n5\r\nhello\r\n0\r\n\r\n" % coding.encode())

    with raw_server(talk) as url, pytest.raises(InvalidResponse, match=f"the transfer coding {coding} is not supp"):
        rest(url, "requests").exchange(b"x", 5)


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_interim_responses_are_not_the_answer(rest_kind: str, interim: bytes) -> None:
    """Taken for it, every later request on the connection got the answer to the one before."""

    def talk(connection: socket.socket) -> None:
        connection.settimeout(20)
        while body := read_request(connection):
            connection.sendall(b"HTTP/1.1 %b\r\nLink: </x>\r\nContent-Encoding: gzip\r\n\r\n" % interim * 3)
            # What comes at once may be read with it, and thrown away.
            time.sleep(0.02)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    with raw_server(talk) as url, closing(rest(url, rest_kind)) as transport:
        assert [transport.exchange(b"%d" % index, 5) for index in range(4)] == [b"0", b"1", b"2", b"3"]


def test_requests_does_not_read_interim_responses_without_end() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)

    with raw_server(talk) as url, pytest.raises(InvalidResponse, match="more than 100 interim responses"):
        rest(url, "requests").exchange(b"x", 5)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("closes", [False, True])
def test_a_server_that_answers_early_and_reads_no_further_refuses(rest_kind: str, secure: bool, closes: bool) -> None:
    """The upload ends there, and the connection takes no other request."""
    connections: list[Any] = []
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        connections.append(connection)
        if len(connections) > 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%b" % read_request(connection))
            return
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
        if closes:
            # What it sent would be lost to a reset, if it closed with something unread.
            connection.shutdown(socket.SHUT_WR)
        over.wait(40)

    with raw_server(talk, secure) as url, closing(rest(url, rest_kind, access=Access(tls=TRUSTED))) as transport:
        with pytest.raises(Rejected, match="HTTP 413: too much"):
            transport.exchange(bytes(20_000_000), 30)
        over.set()
        assert transport.exchange(b"ok", 30) == b"ok"
    assert len(connections) == 2


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 102 Processing\r\n\r\n"])
@pytest.mark.parametrize("secure", [False, True])
def test_large_requests_arrive_whole(rest_kind: str, interim: bytes, secure: bool) -> None:
    """Also where an interim response comes first."""
    body = bytes(range(256)) * (20_000 if secure else 60_000)

    def talk(connection: socket.socket) -> None:
        connection.sendall(interim)
        time.sleep(0.05)
        for _ in range(2):
            same = b"%d" % (read_request(connection) == body)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + same)

    with raw_server(talk, secure) as url, closing(rest(url, rest_kind, access=Access(tls=TRUSTED))) as transport:
        assert [transport.exchange(body, 30) for _ in range(2)] == [b"1", b"1"]


def test_no_coding_is_asked_for_and_no_cookie_is_kept(rest_kind: str) -> None:
    seen: list[Any] = []

    def answer(method: str, path: str, body: bytes, handler: Any) -> Any:
        seen.append((handler.headers.get_all("Accept-Encoding"), handler.headers.get_all("Cookie")))
        return 200, b"answer", {"Set-Cookie": "backend=3; Path=/"}

    with rest_server(answer) as url:
        transport = rest(url, rest_kind)
        given = rest(url, rest_kind, access=Access(Headers([("accept-encoding", "gzip"), ("Cookie", "a=b")])))
        for each in (transport, transport, given):
            assert each.exchange(b"x", 30) == b"answer"
    assert seen == [(["identity"], None), (["identity"], None), (["gzip"], ["a=b"])]


def test_a_server_that_closes_idle_connections_is_connected_again() -> None:
    """As the server says that it will, or without a word while the connection lay idle."""
    connections = []

    def talk(connection: socket.socket) -> None:
        connections.append(connection)
        connection.recv(65536)
        connection.sendall(HEAD + b"hello")

    with raw_server(talk) as url:
        transport = rest(url)
        assert transport.exchange(b"x", 5) == b"hello"
        time.sleep(0.05)
        assert transport.exchange(b"x", 5) == b"hello"
    assert len(connections) == 2


def test_the_deadline_bounds_the_whole_exchange(rest_kind: str) -> None:
    """Also where a byte comes now and then."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(1000):
                connection.sendall(b" ")
                time.sleep(0.05)
        except OSError:
            pass

    with raw_server(talk) as url, pytest.raises(DeadlineExceeded):
        rest(url, rest_kind).exchange(b"x", 0.3)


def test_nobody_listens(rest_kind: str) -> None:
    transport = rest(f"http://127.0.0.1:{free_ports(1)[0]}", rest_kind)
    with pytest.raises(ConnectFailed, match="is the server up"):
        transport.exchange(b"x", 1)


def test_a_killed_user_leaves_no_connection_that_others_could_read_from() -> None:
    with rest_server(lambda *_: time.sleep(0.3) or (200, b"late")) as url:  # type: ignore[func-returns-value]
        transport = rest(url)
        user = gevent.spawn(transport.exchange, b"x", 5)
        gevent.sleep(0.1)
        user.kill()
        assert transport._socket is None


@contextmanager
def tls_rest_server(before: Any = lambda: None) -> Iterator[Any]:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            before()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    context.load_verify_locations(TLS / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_rest_over_tls(rest_kind: str) -> None:
    with tls_rest_server() as url:
        for tls in (TRUSTED, TlsOptions(TLS / "ca.pem", TLS / "server.pem", TLS / "server.key")):
            assert rest(url, rest_kind, access=Access(tls=tls)).exchange(b"echo", 5) == b"echo"
        with pytest.raises(ConnectFailed, match=r"\(certificate verify failed: .*\); check the certificates"):
            rest(url, rest_kind).exchange(b"echo", 5)


def test_a_failed_handshake_is_not_the_certificates_fault(rest_kind: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"\x15\x03\x03\0\2\2\x46")

    with raw_server(talk) as url, pytest.raises(ConnectFailed, match="alert protocol version.; .*does it speak TLS"):
        rest(url.replace("http", "https"), rest_kind, access=Access(tls=TRUSTED)).exchange(b"echo", 5)


def test_the_dot_at_the_end_of_a_name_is_not_in_its_certificate(
    rest_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sockets in (socket, gevent.socket):
        monkeypatch.setattr(
            sockets,
            "getaddrinfo",
            functools.partial(lambda find, _, *args: find("127.0.0.1", *args), sockets.getaddrinfo),
        )
    with tls_rest_server() as url:
        transport = rest(url.replace("127.0.0.1", "localhost."), rest_kind, access=Access(tls=TRUSTED))
        assert transport.exchange(b"echo", 5) == b"echo"
        transport.close()


def test_users_read_the_certificates_once(rest_kind: str, tmp_path: Path) -> None:
    """Each user did, and `requests` for each connection, which took 20 ms of a request's time."""
    files = [shutil.copy(TLS / name, tmp_path) for name in ("ca.pem", "server.pem", "server.key")]
    access = Access(tls=TlsOptions(*map(Path, files)))
    with rest_server(lambda *_: (200, b"good", {"Connection": "close"}), tls=True, mutual=True) as url:
        pool = TransportPool(Endpoint(rest=url, path="/x", access=access), {"rest": rest_kind})
        users = [pool.make("rest")]
        for file in files:
            Path(file).unlink()
        users.append(pool.make("rest"))
        for user in users:
            assert [user.exchange(b"x", 30) for _ in range(2)] == [b"good"] * 2
            user.close()


def test_users_overlap_over_tls() -> None:
    """In this process nothing is patched: sockets of the standard library would hold up all users."""
    together = threading.Barrier(3)
    with tls_rest_server(lambda: together.wait(30)) as url:
        users = [gevent.spawn(rest(url, access=Access(tls=TRUSTED)).exchange, b"echo", 60) for _ in range(3)]
        gevent.joinall(users, raise_error=True)
    assert [user.value for user in users] == [b"echo"] * 3


def test_files_that_are_no_certificates() -> None:
    tls = TlsOptions(ca=Path(__file__))
    with pytest.raises(UsageError, match=r"^--ca-cert: .*/test_transports\.py .*PEM"):
        rest("https://127.0.0.1:1", access=Access(tls=tls))
    with pytest.raises(UsageError, match="both"):
        TlsOptions(cert=TLS / "server.pem")
    with pytest.raises(UsageError, match="nowhere"):
        TlsOptions(ca=Path("nowhere.pem"))


def test_grpc_transports() -> None:
    """In a process of their own: preparing gRPC for gevent holds for the whole process and cannot be taken back."""
    cases = Path(__file__).with_name("gevent_grpc_cases.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(cases)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
