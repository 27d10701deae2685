"""The embedded server's start and stop, measured by `bench_server`."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.masked_requests import COMPACT_SIGNATURE
from bench.bert.demo.demo_model import demo_model_dir
from bench.server.running import free_ports
from bench.serving.messages import PREDICT_METHOD
from benchmarks.load_worker import exchange, grpc_message, request_of, rest_call
from benchmarks.verdicts import goal

CLIENTS, ROUNDS = 8, 7
STOP_SECONDS, START_SECONDS = 10.0, 6.0
THREADS = ("--grpc_max_threads=64", "--rest_api_num_threads=64")


def stop() -> None:
    """SIGTERM under load: every request in progress is answered."""
    model_dir = demo_model_dir()
    model = ExportedModel.open(model_dir)
    grpc_port, rest_port = free_ports(2)
    process = launch(model_dir, grpc_port, rest_port)
    wait_for(rest_port)
    connect = rest_call(f"127.0.0.1:{rest_port}", request_of(model, COMPACT_SIGNATURE))
    outcomes: Counter[str] = Counter()
    threads = [threading.Thread(target=until_refused, args=(connect, outcomes)) for _ in range(CLIENTS)]
    threads += [
        threading.Thread(target=until_unavailable, args=(f"127.0.0.1:{grpc_port}", model, outcomes))
        for _ in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(3.0)
    began = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    code = process.wait(30)
    seconds = time.perf_counter() - began
    for thread in threads:
        thread.join()
    lost = {name: count for name, count in outcomes.items() if name not in ("answered", "refused")}
    goal(
        not lost and code == 0 and seconds <= STOP_SECONDS,
        f"SIGTERM under {2 * CLIENTS} clients: exit code {code} after {seconds:.2f} s (at most {STOP_SECONDS:.0f}), "
        f"{outcomes['answered']} requests answered, lost: {lost or 'none'}",
    )


def until_refused(connect: Callable[[], Callable[[], bytes]], outcomes: Counter[str]) -> None:
    """A REST client that reconnects when the server closes its connection, until the port refuses."""
    while True:
        try:
            call = connect()
        except OSError:
            outcomes["refused"] += 1
            return
        while True:
            try:
                call()
            except (OSError, RuntimeError, IndexError) as error:
                # The last answer announced that the connection closes, so that this request is not lost.
                if "b''" not in str(error) and not isinstance(error, BrokenPipeError | ConnectionResetError):
                    outcomes[f"{type(error).__name__}: {error}"] += 1
                break
            outcomes["answered"] += 1


def until_unavailable(address: str, model: ExportedModel, outcomes: Counter[str]) -> None:
    """A gRPC client that calls until the server refuses."""
    message = grpc_message(request_of(model, COMPACT_SIGNATURE))
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(PREDICT_METHOD)
        while True:
            try:
                call(message, timeout=30)
            except grpc.RpcError as error:
                refused = error.code() is grpc.StatusCode.UNAVAILABLE and "refused" in error.details()
                outcomes["refused" if refused else f"{error.code().name}: {error.details()}"] += 1
                return
            outcomes["answered"] += 1


def start() -> None:
    """Seconds from the launch to the first answer."""
    model_dir = demo_model_dir()
    request = request_of(ExportedModel.open(model_dir), COMPACT_SIGNATURE)
    times = []
    for _ in range(ROUNDS):
        grpc_port, rest_port = free_ports(2)
        began = time.perf_counter()
        process = launch(model_dir, grpc_port, rest_port)
        connection = wait_for(rest_port)
        connection()
        rest_call(f"127.0.0.1:{rest_port}", request)()()
        times.append(time.perf_counter() - began)
        process.terminate()
        process.wait(30)
    goal(
        max(times) <= START_SECONDS,
        f"demo, launch to first answer: {min(times):.2f} to {max(times):.2f} s over {ROUNDS} starts (at most "
        f"{START_SECONDS:.0f} s)",
    )


def launch(model_dir: Path, grpc_port: int, rest_port: int) -> "subprocess.Popen[bytes]":
    """Starts a server, which the caller must end."""
    words = [f"--port={grpc_port}", f"--rest_api_port={rest_port}", "--model_name=bert", *THREADS]
    command = [sys.executable, "-m", "bench.server.embedded", *words, f"--model_base_path={model_dir}"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(rest_port: int) -> Callable[[], bytes]:
    """Waits until REST accepts connections; a call for the model's status."""
    limit = time.monotonic() + 60
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", rest_port), timeout=60)
            break
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.01)
    return lambda: exchange(connection, b"GET /v1/models/bert HTTP/1.1\r\nHost: l\r\n\r\n")
