"""Requests over REST, broken in every way: `python -m benchmarks.fuzz.rest --requests 500000 --seed 1`.

Each round is a connection: it sends some requests, closes its sending side and reads to the end, so that the server
answers or refuses all of it without anyone's waiting for time to pass.
"""

import gzip
import json
import random
import re
import socket
from typing import Final

from bench.server.lifecycle import RunningServer
from benchmarks.fuzz.mutations import mutate_bytes, mutate_json
from benchmarks.fuzz.server_fuzz import NUMBERS, Tally, exit_with, is_closed

# Those of the contract, and of libevent for what is not a request of it.
_NAMED: Final = {200, 400, 404, 413, 429, 501, 504}
_STATUS: Final = re.compile(rb"HTTP/1\.\d{1,9} (\d{3}) ")
_SCORE: Final = {
    "signature_name": "score",
    "inputs": {"token_ids": [[5, 6, 7, 0]], "word_ids": [[0, 1, 1, 0]], "num_pieces": [3]},
}
_ROWS: Final = {
    "signature_name": "score",
    "instances": [{"token_ids": [5, 6, 7], "word_ids": [0, 1, 2], "num_pieces": 3}] * 2,
}
_BODIES: Final = tuple(
    json.dumps(body).encode() for body in (_SCORE, _ROWS, {"instances": [1]}, {"examples": [{"a": 1}]})
)
_CORPUS: Final = (
    b"",
    b"{}",
    b"[]",
    b"\xef\xbb\xbf{}",
    b"\0",
    b'{"instances": ' + b"[" * 4000 + b"]" * 4000 + b"}",
    b'{"inputs": ' + b"[" * 300 + b"1" + b"]" * 300 + b"}",
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b'{"signature_name": "score", "inputs": ' + b"[" * 3000,
    b'{"instances": [{"b64": "' + b"A" * 999 + b'"}]}',
    b'{"instances": [1' + b"0" * 5000 + b"]}",
    b'{"instances": [1e-' + b"9" * 5000 + b"]}",
    b'{"instances": [0.' + b"0" * 5000 + b"1]}",
    b'{"\\u0069nputs": [' + b"0," * 300_000 + b"0]}",
    b'{"inputs": "' + b"\\u0061" * 300_000 + b'"}',
    b'{"instances": [NaN, Infinity, -Infinity, Inf]}',
)
"""Bodies that were once answered wrongly, or cost too much."""
_PATHS: Final = (
    b"/v1/models/bert:predict",
    b"/v1/models/bert/versions/1:predict",
    b"/v1/models/bert/versions/%N:predict",
    b"/v1/models/bert/versions/%N",
    b"/v1/models/bert/versions/%N/metadata",
    b"/v1/models/bert/labels/%N:predict",
    b"/v1/models/%N:predict",
    b"/v1/models/bert:classify",
    b"/v1/models/bert:regress",
    b"/v1/models/bert",
    b"/v1/models/bert/metadata",
    b"/v1/models",
    b"/v1/models/%00:predict",
    b"/v1/models/%ff%fe",
    b"/monitoring/prometheus/metrics",
    b"//host/v1/models/bert",
    b"http://h:%N/v1/models/bert",
    b"/",
    b"*",
)
_METHODS: Final = (
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"get",
    b"CONNECT",
    b"\0",
)
_HEADERS: Final = (
    b"Connection: keep-alive",
    b"Connection: close",
    b"Content-Length: %N",
    b"Content-Length : 3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Expect: 100-continue",
    b"Content-Encoding: gzip",
    b"Content-Encoding: deflate",
    b"Origin: https://x",
    b"Host: %N",
    b" folded",
    b"no colon",
    b": no name",
    b"A: b\rC: d",
    b"X: " + b"y" * 3000,
    b"Content-Type: application/json",
)


def _filled(rng: random.Random, template: bytes) -> bytes:
    return template.replace(b"%N", rng.choice(NUMBERS))


def _body(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(_CORPUS)
    body = rng.choice(_BODIES)
    if kind < 0.55:
        body = mutate_json(rng, body)
    elif kind < 0.65:
        body = mutate_bytes(rng, body)
    elif kind < 0.75:
        body = re.sub(rb"\b[0-9]+\b", lambda _: rng.choice(NUMBERS), body, count=rng.randrange(1, 4))
    return body[: 1 << 16]


def _chunked(rng: random.Random, body: bytes) -> bytes:
    """The body in chunks, whose sizes may be wrong."""
    parts = []
    while body:
        size = rng.choice((1, 2, 7, 1000, len(body)))
        part, body = body[:size], body[size:]
        parts.append((b"%x" % len(part) if rng.random() < 0.97 else rng.choice(NUMBERS)) + b"\r\n" + part + b"\r\n")
    return b"".join(parts) + rng.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"", b"-1\r\n"))


def request(rng: random.Random) -> bytes:
    """One request, more or less."""
    headers = [_filled(rng, rng.choice(_HEADERS)) for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 2)))]
    body = _body(rng)
    if rng.random() < 0.15:
        body = gzip.compress(body, 1, mtime=0)
        headers.append(b"Content-Encoding: gzip")
    if rng.random() < 0.2:
        headers.append(b"Transfer-Encoding: chunked")
        body = _chunked(rng, body)
    elif rng.random() < 0.95:
        headers.append(b"Content-Length: %d" % len(body))
    method = b"POST" if rng.random() < 0.85 else rng.choice(_METHODS)
    path = _PATHS[0] if rng.random() < 0.6 else _filled(rng, rng.choice(_PATHS))
    version = b"HTTP/1.1" if rng.random() < 0.95 else b"HTTP/" + rng.choice(NUMBERS) + b"." + rng.choice(NUMBERS)
    end = rng.choice((b"\r\n", b"\r\n", b"\r\n", b"\n"))
    head = end.join([b" ".join((method, path, version)), *headers, b"", b""])
    sent = head + body
    return mutate_bytes(rng, sent) if rng.random() < 0.1 else sent


def exchange(address: tuple[str, int], sent: bytes) -> bytes:
    """All that the server answers to some bytes; it may close before it has read them."""
    with socket.create_connection(address, timeout=120) as client:
        received = bytearray()
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            while data := client.recv(1 << 16):
                received += data
        except OSError as error:
            if not is_closed(error):
                raise
        return bytes(received)


def fuzz(server: RunningServer, seed: int, tally: Tally) -> None:
    """A connection with one to four requests."""
    rng = random.Random(f"rest:{seed}")
    requests = [request(rng) for _ in range(rng.choice((1, 1, 2, 4)))]
    host, _, port = server.rest_address.partition(":")
    received = exchange((host, int(port)), b"".join(requests))
    tally.sent += len(requests)
    statuses = [int(found) for found in _STATUS.findall(received)]
    tally.statuses.update(str(status) for status in statuses)
    tally.statuses["no answer"] += not statuses
    for status in statuses:
        if status not in _NAMED and status != 100:
            tally.unexpected.append((seed, f"{status}: {received[:300]!r}"))


if __name__ == "__main__":
    exit_with("REST", fuzz)
