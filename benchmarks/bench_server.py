"""The embedded server against its goals: `python -m benchmarks.bench_server [--strict] [NAME...]`.

- overhead: one client's median latency over gRPC and REST against the in-process V1 session's, and the throughput of
  eight clients against that of the session called from eight threads; demo model and preset `mini`, a 14-word sentence,
  compact. Clients are bare sockets, so that the server dominates; the cost of the grpcio package as the client is
  printed too.
- article: the article's 14 × 128 payload, REST against gRPC.
- batching: 16 clients on preset `mini`, with batching and without; sentences of 14 words and of 7.
- versions: a new version every five seconds for a minute under eight clients.
- isolation: a fast model's p99 while a slow one (preset `large`) runs on one of two threads.
- stop: SIGTERM under load.
- start: from the launch to the first answer, demo model.

The clients take turns of a few calls, so that a machine whose speed changes from second to second affects all of them;
medians over all calls are compared. Throughput is measured in rounds, and ratios are taken within a round. Timing does
not decide the exit code, unless `--strict` is given.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np
import psutil

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.masked_requests import COMPACT_SIGNATURE, LOG_PROB
from bench.bert.demo.demo_model import demo_model_dir
from bench.core.cache import cache_dir
from bench.server.lifecycle import RunningServer, embedded
from bench.serving.messages import PREDICT_METHOD, PredictResponse
from bench.serving.tensors import from_proto
from benchmarks.load_worker import WORDS, Worker, grpc_message, request_of, sentence_of
from benchmarks.server_lifecycle import CLIENTS, ROUNDS, THREADS, start, stop
from benchmarks.verdicts import goal, milliseconds, missed, note

RATE_SECONDS = 3.0
TURNS, CALLS, WARM_CALLS = 120, 5, 30
BATCH_CLIENTS, SHORT = 16, 7
GRPC_OVERHEAD, REST_OVERHEAD, ARTICLE_OVERHEAD = 0.7e-3, 0.9e-3, 1.5e-3
THROUGHPUT, BATCHING, ISOLATION = 0.9, 1.7, 3.0
VERSION_SECONDS, VERSIONS = 5.0, 12
MEMORY_GROWTH = 1.05
# Of 14 words and of 7, each one piece of the presets' vocabulary. A large preset takes seconds for each.
SENTENCES = "It took us three hours to find a place to park the car.\nThey sold the house last spring.\n"
Key = TypeVar("Key")


def preset(name: str) -> Path:
    """A model folder of a preset with random weights and a few golden sentences, exported once into the cache."""
    folder = cache_dir() / f"bench-server-{name}-2"
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        command = [sys.executable, "-m", "bench", "export", "--checkpoint", name, "--out", str(partial)]
        with tempfile.NamedTemporaryFile("w", suffix=".tsv") as sentences:
            sentences.write(SENTENCES)
            sentences.flush()
            subprocess.run([*command, "--sentences", sentences.name], check=True, stdout=subprocess.DEVNULL)
        partial.rename(folder)
    return folder


@contextlib.contextmanager
def workers(model_dir: Path, server: RunningServer, signature: str = COMPACT_SIGNATURE) -> Iterator[dict[str, Worker]]:
    """A session, a client of each protocol and one of the grpcio package, each in its own process."""
    rest = (server.rest or "").removeprefix("http://")
    places = {"session": "-", "gRPC": server.grpc or "", "grpcio": server.grpc or "", "REST": rest}
    with contextlib.ExitStack() as stack:
        made = {}
        for name, address in places.items():
            made[name] = Worker(name.lower(), model_dir, address, signature)
            stack.callback(made[name].close)
        yield made


def latencies_in_turn(made: dict[str, Worker]) -> dict[str, float]:
    """Each worker's median latency in seconds; the workers take turns of a few calls."""
    found: dict[str, list[float]] = {name: [] for name in made}
    for worker in made.values():
        worker.calls(WARM_CALLS)
    for _ in range(TURNS):
        for name, worker in made.items():
            found[name] += worker.calls(CALLS)
    return {name: statistics.median(values) for name, values in found.items()}


def rates_in_turn(made: dict[Key, Worker], clients: int) -> dict[Key, list[float]]:
    """Calls per second of each worker's clients in each round."""
    rates: dict[Key, list[float]] = {key: [] for key in made}
    for _ in range(ROUNDS):
        for key, worker in made.items():
            rates[key].append(worker.rate(clients, RATE_SECONDS))
    return rates


def typical_ratio(over: list[float], under: list[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def overhead() -> None:
    """Latency and throughput over those of the in-process session."""
    for label, model_dir in (("demo", demo_model_dir()), ("mini", preset("mini"))):
        with embedded(model_dir, flags=THREADS) as server, workers(model_dir, server) as made:
            latency, rates = latencies_in_turn(made), rates_in_turn(made, CLIENTS)
        session = latency["session"]
        for name, limit in (("gRPC", GRPC_OVERHEAD), ("REST", REST_OVERHEAD)):
            more = latency[name] - session
            goal(
                more <= limit,
                f"{label}, one client over {name}: {milliseconds(latency[name])}, the session's "
                f"{milliseconds(session)} {'+' if more >= 0 else '-'} {milliseconds(abs(more))} "
                f"(at most {milliseconds(limit)} more)",
            )
        note(
            f"{label}, with the grpcio package as the client: {milliseconds(latency['grpcio'])}, its own threads cost "
            f"{milliseconds(latency['grpcio'] - latency['gRPC'])}; {CLIENTS} clients "
            f"{typical_ratio(rates['grpcio'], rates['session']):.2f} of the session's"
        )
        for name in ("gRPC", "REST"):
            ratio = typical_ratio(rates[name], rates["session"])
            goal(
                ratio >= THROUGHPUT,
                f"{label}, {CLIENTS} clients over {name}: {statistics.median(rates[name]):.0f}/s, {ratio:.2f} of the "
                f"session's {statistics.median(rates['session']):.0f}/s (at least {THROUGHPUT})",
            )


def article() -> None:
    """REST against gRPC with the article's payload."""
    model_dir = demo_model_dir()
    with embedded(model_dir, flags=THREADS) as server, workers(model_dir, server, "serving_default") as made:
        del made["session"], made["grpcio"]
        latency = latencies_in_turn(made)
    more = latency["REST"] - latency["gRPC"]
    goal(
        more <= ARTICLE_OVERHEAD,
        f"the article's 14 × 128: REST {milliseconds(latency['REST'])}, gRPC {milliseconds(latency['gRPC'])}, "
        f"{milliseconds(more)} more (at most {milliseconds(ARTICLE_OVERHEAD)})",
    )


def batching() -> None:
    """Throughput with batching against that without."""
    model_dir = preset("mini")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        parameters = Path(folder) / "batching_parameters.txt"
        parameters.write_text(
            "max_batch_size { value: 64 } batch_timeout_micros { value: 2000 } max_enqueued_batches { value: 64 }\n"
            f"num_batch_threads {{ value: {len(os.sched_getaffinity(0))} }} pad_variable_length_inputs: true\n"
        )
        made: dict[tuple[int, str], Worker] = {}
        for name, flags in (
            ("off", ()),
            ("on", ("--enable_batching", f"--batching_parameters_file={parameters}")),
        ):
            server = stack.enter_context(embedded(model_dir, flags=(*THREADS, *flags)))
            for words in (WORDS, SHORT):
                made[words, name] = Worker("grpc", model_dir, server.grpc or "", words=words)
                stack.callback(made[words, name].close)
        rates = rates_in_turn(made, BATCH_CLIENTS)
    for words in (WORDS, SHORT):
        on, off = (rates[words, name] for name in ("on", "off"))
        ratio = typical_ratio(on, off)
        goal(
            ratio >= BATCHING,
            f"mini, {BATCH_CLIENTS} clients, {words} words: {statistics.median(on):.0f}/s with batching, "
            f"{statistics.median(off):.0f}/s without, {ratio:.2f} times (at least {BATCHING})",
        )


@dataclass
class Answers:
    """The answers to clients of a model while its versions change."""

    versions: Counter[int] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    wrong: int = 0


def versions() -> None:
    """Answers and memory while versions come and go."""
    source = ExportedModel.open(demo_model_dir())
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        shutil.copytree(source.version_dir, base / "1")
        with embedded(base, flags=THREADS) as server:
            answers, memory = Answers(), []
            stop = threading.Event()
            clients = [
                threading.Thread(target=ask_and_check, args=(server, source, answers, stop)) for _ in range(CLIENTS)
            ]
            for client in clients:
                client.start()
            process = psutil.Process(server.pid)
            for version in range(2, VERSIONS + 2):
                shutil.copytree(source.version_dir, base / f"{version}.partial")
                (base / f"{version}.partial").rename(base / str(version))
                time.sleep(VERSION_SECONDS)
                memory.append(process.memory_info().rss)
            stop.set()
            for client in clients:
                client.join()
    goal(
        not answers.failed and not answers.wrong,
        f"{VERSIONS} new versions in {VERSIONS * VERSION_SECONDS:.0f} s under {CLIENTS} clients: "
        f"{sum(answers.versions.values())} right answers of {len(answers.versions)} versions, {answers.wrong} wrong, "
        f"failed: {dict(answers.failed) or 'none'}",
    )
    goal(len(answers.versions) == VERSIONS + 1, f"each of the {VERSIONS + 1} versions answered")
    growth = memory[-1] / memory[2]
    goal(
        growth <= MEMORY_GROWTH,
        f"memory {memory[0] / 1e6:.0f} MB after the first new version, {memory[2] / 1e6:.0f} after the third, "
        f"{memory[-1] / 1e6:.0f} after the last: {growth:.3f} of the third's (at most {MEMORY_GROWTH})",
    )


def ask_and_check(server: RunningServer, model: ExportedModel, answers: Answers, stop: threading.Event) -> None:
    """One client: counts each answer's version and compares its values with the golden ones."""
    message = grpc_message(request_of(model, COMPACT_SIGNATURE))
    golden = next(one for one in model.golden.sentences if one.sentence == sentence_of(model))
    with grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(PREDICT_METHOD)
        while not stop.is_set():
            try:
                response = PredictResponse.FromString(call(message, timeout=30))
            except grpc.RpcError as error:
                answers.failed[f"{error.code().name}: {error.details()}"] += 1
                continue
            values = from_proto(response.outputs[LOG_PROB])[0]
            if np.abs(values - golden.log_prob).max() <= model.golden.tolerance:
                answers.versions[response.model_spec.version.value] += 1
            else:
                answers.wrong += 1


def isolation() -> None:
    """A fast model's p99 beside a slow model."""
    slow, fast = preset("large"), demo_model_dir()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "models.config"
        entry = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" }}'
        entries = entry.format("bert", fast) + entry.format("slow", slow)
        config.write_text(f"model_config_list {{ {entries} }}")
        # One thread each: with two cores that leaves one free beside the slow model.
        flags = (f"--model_config_file={config}", "--tensorflow_session_parallelism=1", *THREADS)
        with embedded(fast, flags=flags, startup_timeout=300.0) as server:
            worker = Worker("grpc", fast, server.grpc or "")
            alone = worker.latencies(10.0)
            stop = threading.Event()
            load = threading.Thread(target=keep_busy, args=(server, slow, stop))
            load.start()
            time.sleep(2.0)
            beside = worker.latencies(20.0)
            stop.set()
            load.join()
            worker.close()
    p99, p99_alone = (float(np.percentile(values, 99)) for values in (beside, alone))
    goal(
        p99 <= ISOLATION * p99_alone,
        f"demo beside large: p99 {milliseconds(p99)}, {p99 / p99_alone:.2f} times the {milliseconds(p99_alone)} alone "
        f"(at most {ISOLATION:.0f}); median {milliseconds(statistics.median(beside))} and "
        f"{milliseconds(statistics.median(alone))}",
    )


def keep_busy(server: RunningServer, model_dir: Path, stop: threading.Event) -> None:
    """One client of the slow model."""
    message = grpc_message(request_of(ExportedModel.open(model_dir), COMPACT_SIGNATURE, "slow"))
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.unary_unary(PREDICT_METHOD)
        while not stop.is_set():
            call(message, timeout=120)


PARTS = {part.__name__: part for part in (overhead, article, batching, versions, isolation, stop, start)}


def main() -> int:
    """Runs the named parts, by default all."""
    parser = argparse.ArgumentParser(description="Measures the embedded server against its goals.")
    parser.add_argument("parts", nargs="*", metavar="NAME", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--strict", action="store_true", help="exit code 1 if a goal is missed")
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f}", flush=True)
    for name in args.parts or PARTS:
        print(name, flush=True)
        PARTS[name]()
    print(f"load average {os.getloadavg()[0]:.1f}; {len(missed)} missed", flush=True)
    return int(bool(missed) and args.strict)


if __name__ == "__main__":
    sys.exit(main())
