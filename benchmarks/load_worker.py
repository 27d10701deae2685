"""A cheap load client in its own process, or the in-process session.

`python -m benchmarks.load_worker KIND MODEL_DIR ADDRESS SIGNATURE WORDS`, KIND `session`, `rest`, `grpc` or
`grpcio`: a bare socket for REST and for gRPC, or the grpcio package with its own threads. Requests are built once and
answers are not parsed, so that the server dominates. Each line of standard input is a command, a JSON list, and gets
one line of JSON: `["latency", seconds]` and `["calls", count]` return the seconds of each call of one client,
`["rate", clients, seconds]` the calls per second of several.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, FixedShape, score_request
from bench.bert.text.sentence import EncodedSentence
from bench.serving import messages
from bench.serving.grpc_call import answer_of, call_block
from bench.serving.http2.client import ClientConnection, Request
from bench.serving.http2.grpc_wire import framed
from bench.serving.json_codec import BodyForm, predict_body
from bench.serving.messages import PREDICT_METHOD
from bench.serving.tensors import to_proto
from bench.serving.types import PredictRequest

WORDS = 14
WARM_CALLS = 20
Call = Callable[[], Any]


class Worker:
    """A worker process, which measures on command."""

    def __init__(
        self, kind: str, model_dir: Path, address: str = "-", signature: str = "score", words: int = WORDS
    ) -> None:
        command = [sys.executable, "-m", "benchmarks.load_worker", kind, str(model_dir), address, signature]
        self._process = subprocess.Popen(
            [*command, str(words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.latencies(0.2)

    def latencies(self, seconds: float) -> list[float]:
        """Seconds of each call of one client, sorted."""
        found = self._ask(["latency", seconds])
        assert isinstance(found, list)
        return found

    def calls(self, count: int) -> list[float]:
        """Seconds of each of `count` calls of one client, in their order."""
        found: list[float] = self._ask(["calls", count])
        return found

    def rate(self, clients: int, seconds: float) -> float:
        """Calls per second of several clients."""
        found = self._ask(["rate", clients, seconds])
        assert isinstance(found, float)
        return found

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.communicate()

    def _ask(self, command: list[Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a load worker ended ({' '.join(map(str, command))})")
        return json.loads(line)


def sentence_of(model: ExportedModel, words: int = WORDS) -> EncodedSentence:
    """The first golden sentence of `words` words of one piece each."""
    sentences = [golden.sentence for golden in model.golden.sentences]
    return next(one for one in sentences if one.num_words == one.num_pieces == words)


def request_of(model: ExportedModel, signature: str, name: str = "bert", words: int = WORDS) -> PredictRequest:
    """The request of a sentence: compact, or one row per word with the article's 128 positions."""
    shape = FixedShape() if signature == ARTICLE_SIGNATURE else None
    return score_request([sentence_of(model, words)], model.golden.special, signature, shape, name)


def grpc_message(request: PredictRequest) -> bytes:
    """A serialized PredictRequest."""
    message = messages.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = request.model, request.signature
    for alias, value in request.inputs.items():
        message.inputs[alias].CopyFrom(to_proto(value))
    return bytes(message.SerializeToString())


def session_call(model: ExportedModel, request: PredictRequest) -> Callable[[], Call]:
    """Calls of a V1 session on the model, in this process."""
    from bench.bert.tf_logging import limit_tensorflow_log

    limit_tensorflow_log()
    import tensorflow as tf

    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(model.version_dir))
    signature = meta_graph.signature_def[request.signature]
    fetches = [info.name for info in signature.outputs.values()]
    feeds = {signature.inputs[alias].name: value for alias, value in request.inputs.items()}
    return lambda: lambda: session.run(fetches, feeds)


def grpc_call(address: str, request: PredictRequest) -> Callable[[], Call]:
    """Calls over gRPC, one connection per client."""
    body = framed(grpc_message(request))
    block = call_block(PREDICT_METHOD, address, 60.0, (), secure=False)
    host, _, port = address.rpartition(":")

    def connect() -> Call:
        connection = socket.create_connection((host, int(port)), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = ClientConnection()

        def call() -> bytes:
            client.send(asked := Request(block, body))
            over: list[Request] = []
            while not over:
                if client.out:
                    connection.sendall(bytes(client.out))
                    client.out.clear()
                over = client.receive(connection.recv(1 << 16))
            return answer_of(asked, address, 60.0)

        return call

    return connect


def grpcio_call(address: str, request: PredictRequest) -> Callable[[], Call]:
    """Calls over gRPC with the grpcio package, one connection per client."""
    message = grpc_message(request)

    def connect() -> Call:
        channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
        call = channel.unary_unary(PREDICT_METHOD)
        return lambda: call(message)

    return connect


def rest_call(address: str, request: PredictRequest) -> Callable[[], Call]:
    """Calls over REST, in rows, one connection per client."""
    body = predict_body(request, BodyForm.ROW)
    head = f"POST /v1/models/{request.model}:predict HTTP/1.1\r\nHost: l\r\nContent-Length: {len(body)}\r\n\r\n"
    message = head.encode() + body
    host, _, port = address.rpartition(":")

    def connect() -> Call:
        connection = socket.create_connection((host, int(port)), timeout=60)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return lambda: exchange(connection, message)

    return connect


def exchange(connection: socket.socket, message: bytes) -> bytes:
    """Sends a request and reads its answer.

    Raises:
        RuntimeError: the status is not 200.
    """
    connection.sendall(message)
    data = connection.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"the server answered {data[:300]!r}")
    length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(1 << 16)
    return body


def latencies(call: Call, seconds: float) -> list[float]:
    """Seconds of each call in `seconds`, sorted, after a warm-up."""
    for _ in range(WARM_CALLS):
        call()
    found, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        call()
        found.append(time.perf_counter() - began)
    return sorted(found)


def calls(call: Call, count: int) -> list[float]:
    """Seconds of each of `count` calls."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return found


def rate(connect: Callable[[], Call], clients: int, seconds: float) -> float:
    """Calls per second of several clients together."""
    calls = [connect() for _ in range(clients)]
    counts = [0] * clients
    for call in calls:
        call()
    began = time.perf_counter()

    def work(client: int) -> None:
        while time.perf_counter() - began < seconds:
            calls[client]()
            counts[client] += 1

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def main(kind: str, model_dir: str, address: str, signature: str, words: str) -> None:
    """Answers commands until standard input ends."""
    model = ExportedModel.open(Path(model_dir))
    request = request_of(model, signature, words=int(words))
    if kind == "session":
        connect = session_call(model, request)
    else:
        connect = {"grpc": grpc_call, "grpcio": grpcio_call, "rest": rest_call}[kind](address, request)
    single = connect()
    answers: dict[str, Callable[..., Any]] = {
        "latency": partial(latencies, single),
        "calls": partial(calls, single),
        "rate": partial(rate, connect),
    }
    for line in sys.stdin:
        name, *values = json.loads(line)
        print(json.dumps(answers[name](*values)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
