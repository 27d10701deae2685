"""The embedded server as a process, with flags and models of a test's choice, and plain clients for it."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from bench.server.running import free_ports
from bench.serving.protos import predict_pb2, tensor_pb2, types_pb2

START_SECONDS = 180


@dataclass
class Served:
    """A running server.

    Args:
        process: its process.
        rest_port: REST on loopback.
        grpc_port: gRPC on loopback.
        log: what it wrote, line by line.
    """

    process: "subprocess.Popen[str]"
    rest_port: int
    grpc_port: int
    log: list[str] = field(default_factory=list)

    def http(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, str, bytes]:
        """Status, content type and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=120)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            if method in ("POST", "PUT", "PATCH") or body:
                connection.putheader("Content-Length", str(len(body)))
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type") or "", answer.read()
        finally:
            connection.close()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and JSON of an answer; `body` is JSON too unless it is bytes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, answer = self.http("POST", path, raw)
        return status, json.loads(answer)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        status, _, answer = self.http("GET", path)
        return status, json.loads(answer)

    @contextlib.contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A channel of its own, not shared with another test's."""
        with grpc.insecure_channel(
            f"127.0.0.1:{self.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            yield channel

    def call(self, method: str, request: Any, response: Any, timeout: float = 30.0) -> Any:
        """The answer of a gRPC method of a service of `tensorflow.serving`, raising `grpc.RpcError`."""
        with self.channel() as channel:
            run = channel.unary_unary(
                f"/tensorflow.serving.{method}", type(request).SerializeToString, response.FromString
            )
            return run(request, timeout=timeout)

    def until_logged(self, pattern: str) -> str:
        """The first line of the log that has a match."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            for line in list(self.log):
                if re.search(pattern, line):
                    return line
            if self.process.poll() is not None:
                break
            threading.Event().wait(0.05)
        raise AssertionError(f"nothing like {pattern!r} in {self.log}")


@contextlib.contextmanager
def start(*flags: str, ready: bool = True) -> Iterator[Served]:
    """Starts a server on free ports, ended by SIGTERM if it still runs."""
    grpc_port, rest_port = free_ports(2)
    words = [f"--port={grpc_port}", f"--rest_api_port={rest_port}", *flags]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.server.embedded", *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    served = Served(process, rest_port, grpc_port)
    follower = threading.Thread(target=follow, args=(process, served.log), daemon=True)
    follower.start()
    try:
        if ready:
            served.until_logged("server ready")
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        follower.join()


def follow(process: "subprocess.Popen[str]", log: list[str]) -> None:
    """Keeps what the server writes; it would block on a pipe that nobody reads."""
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            log.append(line.rstrip("\n"))


def run_once(*flags: str, seconds: float = START_SECONDS) -> "subprocess.CompletedProcess[str]":
    """Runs a server that is to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "bench.server.embedded", *flags],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def model_config(path: Path, *entries: str) -> Path:
    """Writes a model config file with the given entries."""
    path.write_text("model_config_list {\n" + "\n".join(f"config {{ {entry} }}" for entry in entries) + "\n}\n")
    return path


def entry(name: str, base: Path, more: str = "") -> str:
    """One model of a config."""
    return f'name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more}'


def floats(*values: float) -> Any:
    """A TensorProto of one dimension."""
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=values)
    proto.tensor_shape.dim.add(size=len(values))
    return proto


def predict_request(model: str, signature: str = "", outputs: Sequence[str] = (), **inputs: Any) -> Any:
    """A PredictRequest of TensorProtos."""
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for alias, proto in inputs.items():
        request.inputs[alias].CopyFrom(proto)
    return request
