"""A server that answers at once with prepared bytes, over REST and gRPC: it measures the load generator.

    python -m bench.load.selftest.null_server MODEL_DIR [--signature score] [--sentences 1]
    python -m bench.load.selftest.null_server MODEL_DIR --bind 0.0.0.0 --rest-port 8501 --grpc-port 8500

Prints a JSON line with its `rest` and `grpc` addresses when it is ready, and serves until its standard input closes,
so that it ends with the process that started it. With `--bind` it serves until a signal: on a machine of its own it
measures load generators elsewhere, with the network between.
"""

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.bert.contract.golden import read_golden
from bench.bert.contract.golden_checker import GoldenChecker
from bench.core import interrupts
from bench.core.errors import TargetError
from bench.load.engine.payloads import build_payloads, request_sentences
from bench.load.selftest.null_grpc import NullGrpc
from bench.serving import json_codec
from bench.serving.messages import GetModelStatusRequest, GetModelStatusResponse, ModelSpec, PredictResponse
from bench.serving.tensors import to_proto
from bench.serving.types import DEFAULT_MODEL_NAME
from bench.workload.workload import Workload

_NOT_FOUND: Final = b'{"error": "Not Found"}'
_UNKNOWN: Final = b'{"error": "the null server does not know this request"}'
_VERSION: Final = 1


class NullRest(asyncio.Protocol):
    """One HTTP connection.

    Args:
        posts: whole responses by request body.
        gets: whole responses by path.
    """

    def __init__(self, posts: Mapping[bytes, bytes], gets: Mapping[bytes, bytes]) -> None:
        self._posts = posts
        self._gets = gets
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        while (head_end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:head_end].lower()
            at = head.find(b"\r\ncontent-length:")
            size = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            end = head_end + 4 + size
            if len(data) < end:
                break
            self._answer(data[: data.find(b"\r\n")], data[head_end + 4 : end])
            data = data[end:]
        self._buffer = data

    def _answer(self, line: bytes, body: bytes) -> None:
        assert self._transport is not None
        if line.startswith(b"POST"):
            answer = self._posts.get(body) or _response(400, _UNKNOWN)
        else:
            answer = self._gets.get(line.split(b" ")[1]) or _response(404, _NOT_FOUND)
        self._transport.write(answer)


def _response(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Answers:
    """Correct answers to all requests of a golden file, as bytes, for both protocols.

    Args:
        model_dir: the export.
        signature: the requested signature.
        sentences: sentences a request.
    """

    def __init__(self, model_dir: Path, signature: str, sentences: int) -> None:
        golden = read_golden(model_dir).golden
        workload = Workload(
            protocol="both",
            transport="fast",
            signature=signature,
            sentences=sentences,
            padded=golden.fixed is not None,
            users=1,
            duration=1.0,
        )
        payloads = build_payloads(golden, workload, ("rest", "grpc"))
        key = GoldenChecker(golden, request_sentences(golden, sentences), signature)
        self.rest: dict[bytes, bytes] = {}
        self.grpc: dict[bytes, bytes] = {}
        spec = ModelSpec(name=DEFAULT_MODEL_NAME, signature_name=signature, version={"value": _VERSION})
        for payload in payloads:
            outputs = key.outputs(payload.index)
            (output,) = outputs.values()
            self.rest[payload.rest] = json_codec.dumps({"predictions": output})
            message = PredictResponse(
                model_spec=spec, outputs={name: to_proto(array) for name, array in outputs.items()}
            )
            self.grpc[payload.grpc] = message.SerializeToString()

    def state(self) -> tuple[bytes, tuple[bytes, bytes]]:
        """The model's state: REST body, and gRPC request and answer."""
        status = {"error_code": "OK", "error_message": ""}
        entry = {"version": str(_VERSION), "state": "AVAILABLE", "status": status}
        question = GetModelStatusRequest(model_spec=ModelSpec(name=DEFAULT_MODEL_NAME))
        answer = GetModelStatusResponse()
        answer.model_version_status.add(version=_VERSION, state="AVAILABLE")
        rest = json_codec.dumps({"model_version_status": [entry]})
        return rest, (question.SerializeToString(), answer.SerializeToString())


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens.

    Args:
        host: address; None is loopback, until standard input closes.
        rest: REST's port; 0 is any free one.
        grpc: gRPC's.
    """

    host: str | None = None
    rest: int = 0
    grpc: int = 0


async def _serve(answers: Answers, where: Listening) -> None:
    state, (question, answer) = answers.state()
    posts = {body: _response(200, reply) for body, reply in answers.rest.items()}
    gets = {f"/v1/models/{DEFAULT_MODEL_NAME}".encode(): _response(200, state)}
    calls = {**answers.grpc, question: answer}
    loop = asyncio.get_running_loop()
    host = where.host or "127.0.0.1"
    rest = await loop.create_server(lambda: NullRest(posts, gets), host, where.rest)
    grpc = await loop.create_server(lambda: NullGrpc(calls), host, where.grpc)
    ports = [server.sockets[0].getsockname()[1] for server in (rest, grpc)]
    print(json.dumps({"rest": f"http://{host}:{ports[0]}", "grpc": f"{host}:{ports[1]}"}), flush=True)
    if where.host is None:
        await loop.run_in_executor(None, sys.stdin.read)
    else:
        await asyncio.Event().wait()


@contextlib.contextmanager
def null_server(model_dir: Path, signature: str = "score", sentences: int = 1) -> Iterator[dict[str, str]]:
    """Runs a null server in a separate process; yields its `rest` and `grpc` addresses.

    Raises:
        TargetError: it did not start.
    """
    command = [sys.executable, "-m", "bench.load.selftest.null_server", str(model_dir)]
    command += ["--signature", signature, "--sentences", str(sentences)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as stack:
        with interrupts.held():
            process = stack.enter_context(
                subprocess.Popen(command, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
            )
            stack.callback(process.terminate)
        line = process.stdout.readline()
        if not line:
            reason = (process.stderr.read().strip().splitlines() or ["no reason given"])[-1]
            raise TargetError(f"the null server did not start: {reason}")
        yield json.loads(line)


def main(words: Sequence[str] | None = None) -> None:
    """Runs the server."""
    parser = argparse.ArgumentParser(
        prog="bench.load.selftest.null_server", description="Answers at once with the answers of golden.json."
    )
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--signature", default="score")
    parser.add_argument("--sentences", type=int, default=1)
    parser.add_argument("--bind", metavar="HOST", help="address to listen on, until a signal (default: loopback)")
    parser.add_argument("--rest-port", type=int, default=0)
    parser.add_argument("--grpc-port", type=int, default=0)
    args = parser.parse_args(words)
    where = Listening(args.bind, args.rest_port, args.grpc_port)
    asyncio.run(_serve(Answers(args.model_dir, args.signature, args.sentences), where))


if __name__ == "__main__":
    main()
