"""The REST client against small servers; each failure becomes a ServingError."""

import inspect
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import requests
import urllib3

from bench.core.errors import ExitCode
from bench.server.running import free_ports
from bench.serving import rest
from bench.serving.access import Access
from bench.serving.errors import (
    ConnectFailed,
    DeadlineExceeded,
    InvalidResponse,
    Rejected,
    ServerFailed,
    ServingError,
    Unavailable,
)
from bench.serving.headers import Headers, read_headers
from bench.serving.rest import RestClient, predict_path
from bench.serving.types import PredictRequest
from tests.support.programmed_servers import rest_server

STATUS = b"""{"model_version_status": [
    {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]}"""
REQUEST = PredictRequest({"x": np.array([1.0, 2.0], np.float32)})


def test_predict_status_and_paths() -> None:
    asked = []

    def answer(method: str, path: str, body: bytes, handler: Any) -> Any:
        asked.append((method, path, body))
        if method == "POST":
            return 200, b'{"predictions": [3.5, 4.0]}'
        return 200, STATUS

    with rest_server(answer) as url, RestClient(url) as client:
        response = client.predict(REQUEST, 5)
        assert client.status("bert", 5)[0].state == "AVAILABLE"
    assert response.outputs[""].tolist() == [3.5, 4.0]
    assert response.bytes_out == len(asked[0][2])
    assert response.bytes_in == 27
    assert [(method, path) for method, path, _ in asked] == [
        ("POST", "/v1/models/bert:predict"),
        ("GET", "/v1/models/bert"),
    ]


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (PredictRequest({}, version=7), "/v1/models/bert/versions/7:predict"),
        (PredictRequest({}, label="stable"), "/v1/models/bert/labels/stable:predict"),
        (PredictRequest({}, model="a/b c", label="x:y"), "/v1/models/a%2Fb%20c/labels/x%3Ay:predict"),
    ],
)
def test_path_names_version_or_label(request_: Any, path: str) -> None:
    assert predict_path(request_) == path


def test_the_connection_is_kept() -> None:
    ports = set()

    def answer(method: str, path: str, body: bytes, handler: Any) -> Any:
        ports.add(handler.client_address)
        return (200, b'{"predictions": [1.0]}') if len(body) else (404, b"{}")

    with rest_server(answer) as url, RestClient(url) as client:
        for _ in range(5):
            client.predict(REQUEST, 5)
            with pytest.raises(Rejected):
                client.status("bert", 5)
    assert len(ports) == 1


def test_headers_are_sent_and_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    seen = {}

    def answer(method: str, path: str, body: bytes, handler: Any) -> Any:
        seen.update(handler.headers)
        return 200, b'{"predictions": [1.0]}'

    with rest_server(answer) as url, RestClient(url, Access(Headers([("X-Team", "search")]))) as client:
        client.predict(REQUEST, 5)
    assert seen["X-Team"] == "search"
    assert seen["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Rejected),
        (401, Rejected),
        (403, Rejected),
        (404, Rejected),
        (409, Rejected),
        (499, Rejected),
        (501, Rejected),
        (408, DeadlineExceeded),
        (504, DeadlineExceeded),
        (429, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (500, ServerFailed),
        (507, ServerFailed),
        (204, InvalidResponse),
        (302, InvalidResponse),
    ],
)
def test_every_status_has_its_error(status: int, error: Any) -> None:
    with pytest.raises(ServingError) as caught:
        rest.raise_for_status(status, b'{"error": "because\\nof it"}')
    assert type(caught.value) is error
    assert caught.value.code == str(status)
    assert caught.value.exit_code is ExitCode.TARGET_FAILED
    assert "\n" not in str(caught.value)


def test_redirects_are_not_followed() -> None:
    with (
        rest_server(lambda *_: (301, b"", {"Location": "http://127.0.0.1:9/"})) as url,
        RestClient(url) as client,
        pytest.raises(InvalidResponse, match="301"),
    ):
        client.predict(REQUEST, 5)


@contextmanager
def raw_server(talk: Any) -> Iterator[Any]:
    """A server of one connection at a time, which `talk(connection)` handles after the request has come."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                received = b""
                while not received.endswith(b"]}"):
                    received += connection.recv(65536)
                talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    try:
        for _ in range(1000):
            connection.sendall(b" ")
            time.sleep(0.05)
    except OSError:
        pass


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("talk", "error"),
    [
        (lambda c: None, ConnectFailed),
        (lambda c: c.sendall(b"hello, not HTTP\r\n\r\n"), (ConnectFailed, InvalidResponse)),
        (lambda c: c.sendall(HEAD + b"Content-Length: 50\r\n\r\nshort"), InvalidResponse),
        (lambda c: c.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nshort"), InvalidResponse),
        (lambda c: c.sendall(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nshort"), InvalidResponse),
        (lambda c: c.sendall(HEAD + b"Content-Length: 5\r\n\r\nshort"), InvalidResponse),
    ],
    ids=["closes", "not HTTP", "cut off", "bad chunk", "bad gzip", "not JSON"],
)
def test_bad_servers(talk: Any, error: Any) -> None:
    with raw_server(talk) as url, RestClient(url) as client, pytest.raises(error):
        client.predict(REQUEST, 30)


@pytest.mark.parametrize("talk", [lambda c: c.recv(1), drip], ids=["silent", "drips"])
def test_servers_that_do_not_end_an_answer(talk: Any) -> None:
    with raw_server(talk) as url, RestClient(url) as client, pytest.raises(DeadlineExceeded):
        client.predict(REQUEST, 0.3)


def test_nobody_listens() -> None:
    with (
        RestClient(f"http://127.0.0.1:{free_ports(1)[0]}") as client,
        pytest.raises(ConnectFailed, match="is the server up"),
    ):
        client.predict(REQUEST, 1)


def test_unknown_host_and_plain_server_behind_https() -> None:
    with RestClient("http://no-such-host.invalid:1") as client, pytest.raises(ConnectFailed):
        client.status("bert", 2)
    with (
        rest_server(lambda *_: (200, b"{}")) as url,
        RestClient(url.replace("http", "https")) as client,
        pytest.raises(ConnectFailed, match=r"no TLS connection .* \(wrong version number\); .*does it speak TLS"),
    ):
        client.status("bert", 2)


PLANTED = ("planted-5f3a9c27", "planted-" + "5f3a" * 200, 'planted-5f3a"\\/ü')


def access_with(value: str) -> Access:
    return Access(read_headers([f"X-Api-Key:{value}"]))


def shows_no_value(error: BaseException) -> None:
    text = str(error)
    assert "<redacted>" in text
    assert not re.search("planted|5f3a", text, re.IGNORECASE)


@pytest.mark.parametrize("value", PLANTED)
@pytest.mark.parametrize(
    "body",
    [
        lambda value: f"X-Api-Key: {value} is not known here",
        lambda value: json.dumps({"X-Api-Key": value}),
        lambda value: json.dumps({"X-Api-Key": value}, ensure_ascii=False),
    ],
    ids=["text", "JSON", "JSON in UTF-8"],
)
@pytest.mark.parametrize("call", ["predict", "status", "metadata"])
def test_a_value_in_an_answer_that_is_none_of_serving_is_not_repeated(
    call: str, body: Callable[[str], str], value: str
) -> None:
    """A login page or an echo service answers with status 200 and what it was sent; only its beginning is shown."""
    with (
        rest_server(lambda *_: (200, body(value).encode())) as url,
        RestClient(url, access_with(value)) as client,
        pytest.raises(InvalidResponse) as caught,
    ):
        getattr(client, call)(REQUEST if call == "predict" else "bert", 5)
    shows_no_value(caught.value)


@pytest.mark.parametrize("value", ["planted-5f3a9c27", "Planted-5F3A,Planted-5F3A", "planted-" + "5f3a" * 200])
def test_a_value_in_the_answer_s_head_is_not_repeated(value: str) -> None:
    with (
        rest_server(lambda *_: (200, b"{}", {"Content-Encoding": value})) as url,
        RestClient(url, access_with(value)) as client,
        pytest.raises(InvalidResponse, match="supported are deflate, gzip, x-gzip") as caught,
    ):
        client.predict(REQUEST, 5)
    shows_no_value(caught.value)
    with (
        raw_server(lambda connection: connection.sendall(f"no {value}\r\n\r\n".encode())) as url,
        RestClient(url, access_with(value)) as client,
        pytest.raises(InvalidResponse) as caught,
    ):
        client.predict(REQUEST, 5)
    shows_no_value(caught.value)


def test_a_value_in_a_model_s_state_is_not_repeated() -> None:
    body = STATUS.replace(b'""', b'"planted-5f3a9c27 is not known"').replace(b"AVAILABLE", b"END planted-5f3a9c27")
    with rest_server(lambda *_: (200, body)) as url, RestClient(url, access_with("planted-5f3a9c27")) as client:
        (found,) = client.status("bert", 5)
    assert (found.state, found.error_message) == ("END <redacted>", "<redacted> is not known")
    with rest_server(lambda *_: (200, STATUS)) as url, RestClient(url, access_with("AVAILABLE")) as client:
        assert client.status("bert", 5)[0].state == "AVAILABLE", "what every server says is no secret"


def foreign_exceptions() -> Iterator[Any]:
    """Every exception class of requests and urllib3 that a call could raise."""
    for module in (requests.exceptions, urllib3.exceptions):
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, (requests.RequestException, urllib3.exceptions.HTTPError)) and not issubclass(
                cls, Warning
            ):
                yield cls
    yield from (OSError, ConnectionResetError, BrokenPipeError, TimeoutError, UnicodeError)


@pytest.mark.parametrize(
    "cls", sorted(set(foreign_exceptions()), key=str), ids=lambda cls: f"{cls.__module__}.{cls.__name__}"
)
def test_no_foreign_exception_leaks(cls) -> None:  # type: ignore[no-untyped-def]
    client = RestClient("http://127.0.0.1:1")

    foreign = type(cls.__name__, (cls,), {"__init__": lambda self: None, "__str__": lambda self: "foreign"})

    def fail(*args: object, **kwargs: Any) -> None:
        raise foreign

    client._session.request = fail  # type: ignore[method-assign]
    with pytest.raises(ServingError) as caught:
        client.predict(REQUEST, 1)
    assert "\n" not in str(caught.value)
