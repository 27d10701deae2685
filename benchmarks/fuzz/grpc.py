"""Calls over gRPC and frames of HTTP/2, broken in every way: `python -m benchmarks.fuzz.grpc --requests 500000`.

A round is a connection. Either it makes calls whose messages and headers are broken, and waits for all answers; or it
sends frames that are, closes its sending side and reads to the end. No one waits for time to pass.
"""

import gzip
import random
import socket
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from bench.server.lifecycle import RunningServer
from bench.serving.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    FrameReader,
    connection_preface,
    frame,
)
from bench.serving.http2.grpc_wire import framed
from bench.serving.http2.hpack import Decoder, Header, HpackError, encode
from bench.serving.protos import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    regression_pb2,
    types_pb2,
)
from benchmarks.fuzz.mutations import mutate_bytes
from benchmarks.fuzz.server_fuzz import NUMBERS, Tally, exit_with, is_closed

_SERVING: Final = "/tensorflow.serving."
_WATCH: Final = b"/grpc.health.v1.Health/Watch"
_CALLS: Final = 8
_INTEGERS: Final = (0, 1, -1, 3, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
_FOUND_SHAPES: Final = ((1 << 62, 0), (0, 1 << 62), (1 << 31, 1 << 31, 0), (1 << 31,), (1 << 40, 1), (1 << 28, 1))
_OURS: Final = b"the server failed on this request"


def _tensor(rng: random.Random, dtype: int, *shape: int) -> Any:
    """A tensor, of which a dimension, the type, or where its values are may be wrong."""
    tensor = predict_pb2.PredictRequest().inputs["x"]
    tensor.dtype = dtype if rng.random() < 0.9 else rng.choice((0, 1, 3, 7, 9, 20, 101, 9999))
    for size in shape:
        tensor.tensor_shape.dim.add(size=size if rng.random() < 0.9 else rng.choice(_INTEGERS))
    if rng.random() < 0.03:
        for _ in range(rng.choice((1, 30, 254, 255, 5000))):
            tensor.tensor_shape.dim.add(size=rng.choice((1, 1, 1, 0, 2)))
    values = [rng.randrange(12) if rng.random() < 0.95 else rng.choice((-1, 2**31 - 1, -(2**31))) for _ in range(4)]
    kind = rng.random()
    if kind < 0.6:
        tensor.int_val.extend(values[: rng.choice((0, 1, 3, 4))])
    elif kind < 0.9:
        tensor.tensor_content = struct.pack("<4i", *values)[: rng.choice((0, 12, 12, 16, 7))]
    else:
        tensor.string_val.append(b"x" * rng.choice((0, 1, 300)))
    return tensor


def _spec(rng: random.Random, spec: Any) -> None:
    spec.name = "bert" if rng.random() < 0.95 else rng.choice(("", "nope", "a\0b", "x" * 5000, "ü"))
    if rng.random() < 0.1:
        spec.version.value = rng.choice(_INTEGERS)
    elif rng.random() < 0.05:
        spec.version_label = rng.choice(("", "stable", "\0", "x" * 5000))
    spec.signature_name = rng.choice(("score", "score", "score", "serving_default", "", "nope", "\0"))


def _predict(rng: random.Random) -> Any:
    request = predict_pb2.PredictRequest()
    _spec(rng, request.model_spec)
    for alias, shape in (("token_ids", (1, 3)), ("word_ids", (1, 3)), ("num_pieces", (1,))):
        if rng.random() < 0.97:
            request.inputs[alias].CopyFrom(_tensor(rng, types_pb2.DT_INT32, *shape))
    if rng.random() < 0.1:
        request.output_filter.append(rng.choice(("log_prob", "nope", "", "log_prob:0")))
    return request


def _found(rng: random.Random) -> Any:
    """A request that once ended the server, or made it take gigabytes."""
    request = _predict(rng)
    request.inputs["token_ids"].CopyFrom(predict_pb2.PredictRequest().inputs["x"])
    request.inputs["token_ids"].dtype = types_pb2.DT_INT32
    for size in rng.choice(_FOUND_SHAPES):
        request.inputs["token_ids"].tensor_shape.dim.add(size=size)
    return request


def _examples(rng: random.Random, request: Any) -> Any:
    _spec(rng, request.model_spec)
    for _ in range(rng.choice((0, 1, 3))):
        request.input.example_list.examples.add().features.feature["a"].int64_list.value.append(rng.choice(_INTEGERS))
    return request


def _multi(rng: random.Random) -> Any:
    request = inference_pb2.MultiInferenceRequest()
    for _ in range(rng.choice((0, 1, 2))):
        task = request.tasks.add(
            method_name=rng.choice(("tensorflow/serving/classify", "tensorflow/serving/regress", "x"))
        )
        _spec(rng, task.model_spec)
    return request


def _metadata(rng: random.Random) -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    _spec(rng, request.model_spec)
    request.metadata_field.extend(rng.choice((["signature_def"], [], ["x"], ["signature_def"] * 3)))
    return request


def _status(rng: random.Random) -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    _spec(rng, request.model_spec)
    return request


def _reload(rng: random.Random) -> Any:
    """A config that is refused before it changes anything."""
    request = model_management_pb2.ReloadConfigRequest()
    for name, path in (("bert", "relative"), ("bert", rng.choice(("", "/\0", "/x", "x" * 5000)))):
        request.config.model_config_list.config.add(name=name, base_path=path, model_platform="tensorflow")
    return request


def _of_classification(rng: random.Random) -> Any:
    return _examples(rng, classification_pb2.ClassificationRequest())


def _of_regression(rng: random.Random) -> Any:
    return _examples(rng, regression_pb2.RegressionRequest())


_METHODS: Final[Sequence[tuple[str, Callable[[random.Random], Any]]]] = (
    *[(f"{_SERVING}PredictionService/Predict", _predict)] * 8,
    (f"{_SERVING}PredictionService/Predict", _found),
    (f"{_SERVING}PredictionService/Classify", _of_classification),
    (f"{_SERVING}PredictionService/Regress", _of_regression),
    (f"{_SERVING}PredictionService/MultiInference", _multi),
    (f"{_SERVING}PredictionService/GetModelMetadata", _metadata),
    (f"{_SERVING}ModelService/GetModelStatus", _status),
    (f"{_SERVING}ModelService/HandleReloadConfigRequest", _reload),
    ("/grpc.health.v1.Health/Check", _status),
    (_WATCH.decode(), _status),
    ("/nope/Nope", _predict),
)
_UNITS: Final = (b"H", b"M", b"S", b"m", b"u", b"n", b"", b"x")


def _message(rng: random.Random, method: str, make: Callable[[random.Random], Any]) -> bytes:
    message = bytes(make(rng).SerializeToString())
    # A reload that is broken otherwise might change what is served.
    return mutate_bytes(rng, message)[: 1 << 16] if rng.random() < 0.4 and "Reload" not in method else message


def _body(rng: random.Random, message: bytes, headers: list[Header]) -> bytes:
    kind = rng.random()
    if kind < 0.85:
        return framed(message)
    if kind < 0.93:
        coding, pack = rng.choice(((b"gzip", gzip.compress), (b"deflate", zlib.compress), (b"br", gzip.compress)))
        headers.append((b"grpc-encoding", coding))
        packed = pack(message)
        return b"\1" + len(packed).to_bytes(4, "big") + (mutate_bytes(rng, packed) if rng.random() < 0.2 else packed)
    return rng.choice(
        (
            b"",
            b"\0",
            b"\2" + framed(message)[1:],
            b"\0\xff\xff\xff\xff" + message,
            framed(message) * 2,
            framed(message)[:-1],
        )
    )


def _call(rng: random.Random, stream: int) -> tuple[bytes, bool]:
    """The frames of a call, and whether its stream ends by itself."""
    method, make = rng.choice(_METHODS)
    headers = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", method.encode()), (b"te", b"trailers")]
    if rng.random() < 0.99:
        headers.append((b"content-type", b"application/grpc" + rng.choice((b"", b"", b"+proto", b"-web"))))
    if rng.random() < 0.1:
        headers.append((b"grpc-timeout", rng.choice(NUMBERS) + rng.choice(_UNITS)))
    body = _body(rng, _message(rng, method, make), headers)
    block = encode(headers)
    frames = []
    if rng.random() < 0.05 and len(block) > 10:
        frames += [frame(HEADERS, 0, stream, block[:9]), frame(CONTINUATION, END_HEADERS, stream, block[9:])]
    else:
        frames.append(frame(HEADERS, END_HEADERS, stream, block))
    if rng.random() < 0.1:
        frames.append(frame(DATA, PADDED, stream, b"\3" + body[:5] + bytes(3)))
        body = body[5:]
    frames.append(frame(DATA, END_STREAM, stream, body))
    return b"".join(frames), method != _WATCH.decode()


def _broken_frames(rng: random.Random) -> bytes:
    """Frames of a call with others among them, whose every field may be wrong."""
    parts = [_call(rng, stream)[0] for stream in (1, 3)]
    for _ in range(rng.randrange(1, 6)):
        kind = rng.choice(
            (DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, 5, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, 99)
        )
        flags = rng.choice((0, 0, ACK, END_HEADERS, END_STREAM | END_HEADERS, PADDED, PRIORITY, 255))
        payload = rng.choice(
            (
                b"",
                bytes(4),
                bytes(8),
                b"\xff" * 4,
                b"\xff" * 5000,
                struct.pack(">HI", rng.randrange(8), rng.choice((0, 1, 2**14, 2**24, 2**31 - 1, 2**31, 2**32 - 1))),
                struct.pack(">I", rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1))),
                b"\x3f" + b"\xff" * rng.choice((3, 9, 3000)) + b"\1",
                encode([(b":path", b"x" * rng.choice((1, 70_000)))]),
                rng.randbytes(rng.choice((1, 9, 300))),
            )
        )
        parts.insert(
            rng.randrange(len(parts) + 1), frame(kind, flags, rng.choice((0, 1, 1, 2, 3, 5, 2**31 - 1)), payload)
        )
    sent = b"".join(parts)
    return mutate_bytes(rng, sent) if rng.random() < 0.5 else sent


class _Answers:
    """What a connection answers."""

    def __init__(self, tally: Tally, seed: int) -> None:
        self.ended: set[int] = set()
        self.over = False
        self._tally, self._seed = tally, seed
        self._reader, self._decoder = FrameReader(), Decoder()

    def receive(self, data: bytes) -> None:
        self._reader.feed(data)
        for kind, flags, stream, payload in self._reader.frames():
            if kind == HEADERS:
                self._headers(payload)
            elif kind == RST_STREAM and any(payload):
                self._tally.statuses[f"RST_STREAM {int.from_bytes(payload, 'big')}"] += 1
            elif kind == GOAWAY:
                self._tally.statuses[f"GOAWAY {int.from_bytes(payload[4:8], 'big')}"] += 1
                self.over = True
            if kind == RST_STREAM or (kind in (HEADERS, DATA) and flags & END_STREAM):
                self.ended.add(stream)

    def _headers(self, block: bytes) -> None:
        try:
            found = dict(self._decoder.decode(block))
        except HpackError as error:
            self._tally.unexpected.append((self._seed, f"headers that cannot be read: {error}"))
            return
        if b"grpc-status" in found:
            self._tally.statuses[found[b"grpc-status"].decode()] += 1
            if _OURS in found.get(b"grpc-message", b"").replace(b"%20", b" "):
                self._tally.unexpected.append((self._seed, repr(found)))


@cache
def _greeting() -> bytes:
    return PREFACE + connection_preface()


def fuzz(server: RunningServer, seed: int, tally: Tally) -> None:
    """A connection of calls, or of frames."""
    rng = random.Random(f"grpc:{seed}")
    host, _, port = (server.grpc or "").partition(":")
    answers = _Answers(tally, seed)
    with socket.create_connection((host, int(port)), timeout=120) as client:
        try:
            if rng.random() < 0.3:
                _exchange_frames(client, rng, answers)
                tally.sent += 2
            else:
                _exchange_calls(client, rng, answers)
                tally.sent += _CALLS
        except OSError as error:
            if not is_closed(error):
                raise
            tally.statuses["connection reset"] += 1


def _exchange_calls(client: socket.socket, rng: random.Random, answers: _Answers) -> None:
    calls = {stream: _call(rng, stream) for stream in range(1, 2 * _CALLS, 2)}
    client.sendall(_greeting() + b"".join(sent for sent, _ in calls.values()))
    awaited = {stream for stream, (_, ends) in calls.items() if ends}
    while awaited - answers.ended and not answers.over and (data := client.recv(1 << 16)):
        answers.receive(data)


def _exchange_frames(client: socket.socket, rng: random.Random, answers: _Answers) -> None:
    greeting = _greeting() if rng.random() < 0.95 else mutate_bytes(rng, _greeting())
    client.sendall(greeting + _broken_frames(rng))
    client.shutdown(socket.SHUT_WR)
    while data := client.recv(1 << 16):
        answers.receive(data)


if __name__ == "__main__":
    exit_with("gRPC", fuzz)
