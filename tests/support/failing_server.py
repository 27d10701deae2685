"""A server that fails in a chosen way: golden answers from memory on REST and gRPC, until it does not.

`failing(folder, dies_at=100)` writes an executable that takes `tensorflow_model_server`'s flags, for `binary:PATH`;
`listening(folder, model_dir, ...)` runs one as somebody else's server. Run as a module, this file is that server.
"""

import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bench.load.selftest.null_grpc import NullGrpc
from bench.load.selftest.null_server import Answers, NullRest, _response
from bench.server.running import free_ports
from bench.serving.http2.grpc_wire import failure

ROOT = Path(__file__).parents[2]

# A server that answers at once would make the load generator the limit.
SECONDS = 0.004

INVALID_ARGUMENT, UNAVAILABLE = 3, 14


@dataclass
class Fault:
    """What goes wrong; a count or a time of -1 means never.

    Args:
        refuses: ends at the start, as over a flag that it does not know.
        deaf: never listens.
        stubborn: ignores SIGTERM.
        loading: never says that the model is available.
        dies_after: seconds until the process ends.
        dies_at: answers until the process ends.
        killed_at: answers until the process is killed.
        stopped_at: answers until the process is stopped, as by Ctrl-Z.
        hangs_at: answers until no more are given, though requests are still taken.
        rejects_at: answers until all requests are refused as bad.
        unavailable_at: answers until all are refused as not possible now.
        fails_every: of so many requests all but one are refused; 0 for none.
        garbled: answers that cannot be read.
        fresh: only processes after so many starts have the fault.
    """

    refuses: int = 0
    deaf: int = 0
    stubborn: int = 0
    loading: int = 0
    dies_after: float = -1.0
    dies_at: int = -1
    killed_at: int = -1
    stopped_at: int = -1
    hangs_at: int = -1
    rejects_at: int = -1
    unavailable_at: int = -1
    fails_every: int = 0
    garbled: int = 0
    fresh: int = 0


def failing(folder: Path, **fault: float) -> str:
    """A target `binary:PATH` of a server with this fault."""
    words = [f"{name}={value!r}" for name, value in fault.items()]
    path = folder / ("failing-" + ("-".join(words) or "good"))
    command = shlex.join([sys.executable, "-m", "tests.support.failing_server", f"starts={path}.starts", *words])
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command} -- "$@"\n')
    path.chmod(0o755)
    return f"binary:{path}"


@contextlib.contextmanager
def listening(folder: Path, model_dir: Path, **fault: float) -> Iterator[dict[str, str]]:
    """A server with this fault that somebody else started: its `rest` and `grpc` targets."""
    grpc, rest = free_ports(2)
    program = failing(folder, **fault).removeprefix("binary:")
    words = [f"--port={grpc}", f"--rest_api_port={rest}", "--model_name=bert", f"--model_base_path={model_dir}"]
    with subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield {"rest": f"http://127.0.0.1:{rest}", "grpc": f"grpc://127.0.0.1:{grpc}"}
        finally:
            process.kill()


class Fate:
    """Decides what becomes of each request to predict."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._asked = 0

    def settle(self, answer: Callable[[], None], refuse: Callable[[int], None]) -> None:
        """Calls one of the two, or neither."""
        fault, count = self._fault, self._asked
        self._asked += 1
        if 0 <= fault.dies_at <= count:
            os._exit(9)
        for at, number in ((fault.killed_at, signal.SIGKILL), (fault.stopped_at, signal.SIGSTOP)):
            if 0 <= at <= count:
                os.kill(os.getpid(), number)
        if 0 <= fault.rejects_at <= count or (fault.fails_every and count % fault.fails_every):
            refuse(INVALID_ARGUMENT)
        elif 0 <= fault.unavailable_at <= count:
            refuse(UNAVAILABLE)
        elif not 0 <= fault.hangs_at <= count:
            asyncio.get_running_loop().call_later(SECONDS, answer)


class FailingRest(NullRest):
    fate: Fate

    def _answer(self, line: bytes, body: bytes) -> None:
        answer = super()._answer
        if line.startswith(b"POST"):
            self.fate.settle(lambda: answer(line, body), self._refuse)
        else:
            answer(line, body)

    def _refuse(self, code: int) -> None:
        assert self._transport is not None
        self._transport.write(_response(400 if code == INVALID_ARGUMENT else 503, b'{"error": "no, thank you"}'))


class FailingGrpc(NullGrpc):
    fate: Fate
    status: bytes

    def _answer(self, event: Any) -> None:
        answer = super()._answer

        def answered() -> None:
            answer(event)
            self._send()

        def refused(code: int) -> None:
            self._h2.respond(event.stream, b"", b"", failure(code, b"no, thank you"))
            self._send()

        if event.body[5:] == self.status:
            answered()
        else:
            self.fate.settle(answered, refused)


async def serve(answers: Answers, fault: Fault, grpc_port: int, rest_port: int) -> None:
    state, (question, answer) = answers.state()
    if fault.loading:
        state = state.replace(b"AVAILABLE", b"LOADING")
    fate = Fate(fault)

    def body(reply: bytes) -> bytes:
        return reply[: len(reply) // 2] if fault.garbled else reply

    posts = {asked: _response(200, body(reply)) for asked, reply in answers.rest.items()}
    gets = {b"/v1/models/bert": _response(200, state)}
    calls = {asked: body(reply) for asked, reply in answers.grpc.items()} | {question: answer}
    rest_type = type("Rest", (FailingRest,), {"fate": fate})
    grpc_type = type("Grpc", (FailingGrpc,), {"fate": fate, "status": question})
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: grpc_type(calls), "127.0.0.1", grpc_port)
    await loop.create_server(lambda: rest_type(posts, gets), "127.0.0.1", rest_port)
    print("ready", flush=True)
    if fault.dies_after >= 0:
        loop.call_later(fault.dies_after, os._exit, 9)
    await asyncio.Event().wait()


def main(words: list[str]) -> None:
    """Serves with the fault in the words before `--`."""
    split = words.index("--")
    given = dict(word.split("=", 1) for word in words[:split])
    flags = dict(word.removeprefix("--").split("=", 1) for word in words[split + 1 :])
    starts = Path(given.pop("starts"))
    with starts.open("a") as file:
        file.write("x")
    kinds = {entry.name: type(entry.default) for entry in fields(Fault)}
    fault = Fault(**{name: float(value) if kinds[name] is float else int(value) for name, value in given.items()})  # type: ignore[arg-type]
    if len(starts.read_text()) <= fault.fresh:
        fault = Fault()
    if fault.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if fault.refuses:
        sys.exit("unknown flag --fast: this server does not have it")
    if fault.deaf:
        print("not listening", flush=True)
        time.sleep(300)
    answers = Answers(Path(flags["model_base_path"]), "score", 1)
    asyncio.run(serve(answers, fault, int(flags["port"]), int(flags["rest_api_port"])))


if __name__ == "__main__":
    main(sys.argv[1:])
