"""What listens at an address, against servers that are really there: each is named in one plain sentence."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from bench.core.errors import TargetError
from bench.server.lifecycle import open_target
from bench.server.running import free_ports
from bench.serving.access import Access
from bench.serving.endpoint_probe import Kind, describe, explain, find_listener
from bench.serving.target import parse_target
from bench.serving.tls import TlsOptions
from tests.support.programmed_servers import grpc_server, rest_server

TLS = Path(__file__).parents[1] / "load" / "tls"
PAGE = b"<html><body>It works!</body></html>"
STATUS = b'{"model_version_status": [{"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK"}}]}'


@contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that calls `serve` with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing_down = threading.Event()

    def one(connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            serve(connection)

    def accept() -> None:
        while not closing_down.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        closing_down.set()
        # Wakes the accept that would otherwise go on waiting.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def tls_rest_server() -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(4096)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(STATUS), STATUS))

    with raw_server(serve) as address:
        yield address


@contextmanager
def tls_grpc_server() -> Iterator[str]:
    pair = ((TLS / "server.key").read_bytes(), (TLS / "server.pem").read_bytes())
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def plain_rest(status: int, body: bytes, headers: dict[str, str] | None = None) -> Iterator[str]:
    with rest_server(lambda *_: (status, body, headers or {})) as url:
        yield url.removeprefix("http://")


def sends(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(data)
        connection.recv(4096)

    return serve


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def test_a_grpc_port_asked_for_rest() -> None:
    with grpc_server(lambda *_: b"") as address:
        assert (
            explain(address, "rest")
            == f"{address} speaks gRPC, not REST; give grpc://{address}, or the server's REST port"
        )
        assert explain(address, "grpc") is None
        assert explain(address, "grpc", secure=True) == f"{address} speaks gRPC without TLS; give grpc://{address}"


def test_a_rest_port_asked_for_grpc() -> None:
    with plain_rest(200, STATUS) as address:
        assert (
            explain(address, "grpc")
            == f"{address} speaks REST, not gRPC; give http://{address}, or the server's gRPC port"
        )
        assert explain(address, "rest") is None
        assert explain(address, "rest", secure=True) == f"{address} speaks REST without TLS; give http://{address}"


def test_tls_asked_for_plain_bytes() -> None:
    with tls_rest_server() as address:
        assert explain(address, "rest") == f"{address} speaks TLS; give https://{address}"
        distrusted = f"{address} has a certificate that is not trusted"
        assert str(explain(address, "rest", secure=True)).startswith(distrusted)
        assert explain(address, "rest", secure=True, access=Access(tls=TlsOptions(TLS / "ca.pem"))) is None
    with tls_grpc_server() as address:
        assert explain(address, "grpc") == f"{address} speaks gRPC over TLS; give grpcs://{address}"
        assert "not trusted" in str(explain(address, "grpc", secure=True))
        assert explain(address, "rest", secure=True) == (
            f"{address} speaks gRPC over TLS, not REST; give grpcs://{address}, or the server's REST port"
        )


def test_a_web_server_that_says_that_its_port_wants_tls() -> None:
    page = b"HTTP/1.1 400 Bad Request\r\n\r\nThe plain HTTP request was sent to HTTPS port"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")

    def serve(connection: socket.socket) -> None:
        if connection.recv(1, socket.MSG_PEEK) == b"\x16":
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)
        else:
            connection.sendall(page)

    with raw_server(serve) as address:
        assert explain(address, "rest") == f"{address} speaks TLS; give https://{address}"


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (200, {"Content-Type": "text/html", "Server": "Apache/2.4"}, "Apache/2.4.*HTTP 200, text/html"),
        (404, {"Content-Type": "text/html; charset=utf-8"}, "is a web server .HTTP 404, text/html."),
        (301, {"Location": "https://elsewhere.example/"}, "redirects to https://elsewhere.example/ .HTTP 301."),
        (307, {"Location": "/login"}, "redirects to /login"),
        (502, {"Server": "nginx"}, "nginx.* answers HTTP 502: a proxy whose server behind it does not answer"),
        (503, {}, "answers HTTP 503: a proxy"),
        (504, {}, "answers HTTP 504: a proxy"),
        (401, {}, "answers HTTP 401: it asks for credentials"),
        (407, {}, "answers HTTP 407: it asks for credentials"),
    ],
)
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_another_web_server(status: int, headers: dict[str, str], reason: str, protocol: str) -> None:
    with plain_rest(status, PAGE, headers) as address:
        sentence = explain(address, protocol)
    assert sentence is not None
    assert re.search(reason, sentence)
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("banner", "shown"),
    [
        (b"SSH-2.0-OpenSSH_8.9p1 Ubuntu-3\r\n", "'SSH-2.0-OpenSSH_8.9p1 Ubuntu-3'"),
        (b"220 mail.example.com ESMTP Postfix\r\n", "'220 mail.example.com ESMTP Postfix'"),
        (b"-ERR unknown command\r\n", "'-ERR unknown command'"),
        (b"J\x00\x00\x00\x0a8.0.36\x00\x1b[31m\x07", "'J...'"),
    ],
)
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_another_protocol_s_banner_is_shown_as_far_as_it_can_be_read(banner: bytes, shown: str, protocol: str) -> None:
    with raw_server(sends(banner)) as address:
        sentence = explain(address, protocol)
    assert sentence == f"{address} answers {shown}, which is not TensorFlow Serving; check the port"


def test_a_server_that_says_nothing() -> None:
    with raw_server(silent) as address:
        host, _, port = address.rpartition(":")
        found = find_listener(host, int(port), seconds=0.2)
    assert found.kind is Kind.SILENT
    assert describe(found, address, "rest") == (
        f"{address} accepts connections and does not answer; check that TensorFlow Serving listens there"
    )


def test_a_server_that_closes_every_connection() -> None:
    with raw_server(lambda connection: None) as address:
        assert explain(address, "rest") == (
            f"{address} closes connections without an answer; check that TensorFlow Serving listens there"
        )


def test_nobody_and_nowhere() -> None:
    (port,) = free_ports(1)
    assert explain(f"127.0.0.1:{port}", "rest") == (
        f"nothing listens at 127.0.0.1:{port}; start the server there, or check the address"
    )
    assert explain("no-such-host.invalid:8500", "grpc") == "the host no-such-host.invalid is not known; check its name"


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_target_that_is_something_else_is_refused_at_once_and_plainly(scheme: str) -> None:
    with (
        raw_server(sends(b"SSH-2.0-OpenSSH_8.9p1\r\n")) as address,
        pytest.raises(TargetError, match="answers 'SSH-2.0-OpenSSH_8.9p1', which is not TensorFlow Serving"),
        open_target(parse_target(f"{scheme}://{address}"), None, startup_timeout=60.0),
    ):
        pass


def test_the_wrong_endpoint_as_a_target() -> None:
    with (
        grpc_server(lambda *_: b"") as address,
        pytest.raises(TargetError, match=f"{address} speaks gRPC, not REST; give grpc://{address}"),
        open_target(parse_target(f"http://{address}"), None, startup_timeout=60.0),
    ):
        pass
    with (
        plain_rest(200, STATUS) as address,
        pytest.raises(TargetError, match=f"{address} speaks REST, not gRPC; give http://{address}"),
        open_target(parse_target(f"grpc://{address}"), None, startup_timeout=60.0),
    ):
        pass
    with (
        tls_rest_server() as address,
        pytest.raises(TargetError, match=f"{address} has a certificate that is not trusted"),
        open_target(parse_target(f"https://{address}"), None, startup_timeout=60.0),
    ):
        pass


def test_a_model_that_failed_to_load_on_a_server_elsewhere() -> None:
    body = STATUS.replace(
        b'"AVAILABLE", "status": {"error_code": "OK"',
        b'"END", "status": {"error_code": "UNKNOWN", "error_message": "No room"',
    )
    with (
        plain_rest(200, body) as address,
        pytest.raises(TargetError, match="model 'bert' at http://.* is END: No room; look at that server's log"),
        open_target(parse_target(f"http://{address}"), None, startup_timeout=60.0),
    ):
        pass
