"""A proxy that lets nobody through without a token: REST below a path prefix, and gRPC; each plain and over TLS."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from tests.support.programmed_servers import grpc_server, rest_server

HEADER = "X-Token"
PREFIX = "/team-a/bert"
# One request after the other, so that load that asks for as much as there is leaves the processors alone.
PAUSE = 0.01


@dataclass
class Guarded:
    """The proxy's targets, and what it let through.

    Args:
        targets: by scheme: `http`, `https`, `grpc`, `grpcs`.
        passed: requests with the token, by scheme.
        refused: requests without it, by scheme.
        paths: what was asked behind the prefix, by REST.
    """

    targets: dict[str, str] = field(default_factory=dict)
    passed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    paths: set[str] = field(default_factory=set)


@contextmanager
def guarded_server(rest: str, grpc_address: str, token: str, *, mutual: bool = False) -> Iterator[Guarded]:
    """A proxy before a server's two endpoints; whoever has no token gets an error that repeats what it sent.

    Args:
        rest: base URL of the server's REST endpoint.
        grpc_address: `host:port` of its gRPC endpoint.
        token: value of the header `HEADER`.
        mutual: ask for a certificate of the client, over TLS only.
    """
    found = Guarded()
    turn = threading.Lock()
    channel = grpc.insecure_channel(grpc_address)

    def ask_rest(scheme: str, method: str, path: str, body: bytes, handler: Any) -> Any:
        sent = handler.headers.get(HEADER, "none")
        if sent != token:
            found.refused[scheme] += 1
            return 403, f'{{"error": "not with the token {sent}"}}'.encode()
        found.passed[scheme] += 1
        if not path.startswith(PREFIX + "/"):
            return 404, b"<html>nothing here</html>", {"Content-Type": "text/html"}
        found.paths.add(path.removeprefix(PREFIX))
        with turn:
            time.sleep(PAUSE)
        with closing(http.client.HTTPConnection(rest.partition("://")[2])) as connection:
            connection.request(method, path.removeprefix(PREFIX), body)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def ask_grpc(scheme: str, method: str, message: bytes, context: Any) -> bytes:
        sent = dict(context.invocation_metadata()).get(HEADER.lower(), "none")
        if sent != token:
            found.refused[scheme] += 1
            context.abort(grpc.StatusCode.UNAUTHENTICATED, f"not with the token {sent}")
        found.passed[scheme] += 1
        with turn:
            time.sleep(PAUSE)
        try:
            return bytes(channel.unary_unary(method)(message, timeout=60))
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
            raise AssertionError("not reached") from error

    with ExitStack() as stack:
        stack.callback(channel.close)
        for tls in (True,) if mutual else (False, True):
            http_name, grpc_name = ("https", "grpcs") if tls else ("http", "grpc")
            secure = {"tls": tls, "mutual": mutual}
            url = stack.enter_context(rest_server(lambda *asked, name=http_name: ask_rest(name, *asked), **secure))
            address = stack.enter_context(grpc_server(lambda *asked, name=grpc_name: ask_grpc(name, *asked), **secure))
            found.targets |= {http_name: url + PREFIX, grpc_name: f"{grpc_name}://{address}"}
        yield found
