"""Runs that never happened: a queue is simulated and written through the real writer, so its truth is known."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.types import Floats
from bench.results.blocks import RecordBuffer
from bench.results.environment import Environment
from bench.results.failures import FailureText
from bench.results.manifest import Origin, describe
from bench.results.records import Outcome, RequestRecord, WrongKind
from bench.results.run_folder import RunWriter
from bench.results.run_reader import Run, open_run
from bench.results.samples import ClientSample, ServerSample
from bench.serving.errors import Lack
from bench.workload.arrivals import ClosedLoop, OpenLoop, parse_arrivals
from bench.workload.workload import Workload, run_schedule

Service = Callable[[np.random.Generator, int], Floats]

WORKLOAD = Workload(protocol="grpc", transport="fast", signature="score", users=64, duration=20.0, warmup=2.0, seed=1)

ENVIRONMENT = Environment(
    host="bench-1",
    boot_id="00000000-0000-0000-0000-000000000001",
    cpu_model="Example CPU",
    cores=2,
    cores_allowed=2,
    cpu_limit=None,
    memory=24_000_000_000,
    memory_limit=None,
    governor="performance",
    container=None,
    system="Example Linux",
    kernel="6.1",
    python="3.11.7",
    packages={"numpy": "1.26.4", "locust": "2.47.0"},
    load_average=0.1,
)


@dataclass
class Requests:
    """Due, send and done times (seconds) and outcomes of a simulated run; a test may change them before writing."""

    due: Floats
    sent: Floats
    done: Floats
    outcome: list[Outcome]
    warmup: int


def exponential(mean: float) -> Service:
    """Exponential service times."""
    return lambda rng, size: rng.exponential(mean, size)


def fixed(seconds: float) -> Service:
    """Service times that never vary."""
    return lambda rng, size: np.full(size, seconds)


QUICK = exponential(0.01)


def simulate(
    arrivals: str = "poisson:rate=50",
    workload: Workload = WORKLOAD,
    service: Service = QUICK,
    servers: int = 1,
    start_delay: float = 0.0002,
    frozen: tuple[float, float] | None = None,
) -> Requests:
    """A first-come-first-served queue; each request is sent `start_delay` after it was due.

    `frozen` is a span (from, to) in which the servers begin nothing and finish nothing.
    """
    parsed = parse_arrivals(arrivals)
    rng = np.random.default_rng([workload.seed, 77])
    if isinstance(parsed, ClosedLoop):
        return _simulate_closed(parsed, workload, service, servers, start_delay, rng)
    assert isinstance(parsed, OpenLoop)
    schedule = run_schedule(parsed, workload)
    times = service(rng, schedule.due.size)
    free = [0.0] * servers
    sent, done = schedule.due + start_delay, np.empty(schedule.due.size)
    for index, moment in enumerate(sent):
        begin = max(moment, heapq.heappop(free))
        end = begin + times[index]
        if frozen is not None and end > frozen[0] and begin < frozen[1]:
            end += frozen[1] - max(begin, frozen[0])
        done[index] = end
        heapq.heappush(free, end)
    return Requests(schedule.due, sent, done, [Outcome.OK] * schedule.due.size, schedule.warmup)


def _simulate_closed(
    arrivals: ClosedLoop,
    workload: Workload,
    service: Service,
    servers: int,
    start_delay: float,
    rng: np.random.Generator,
) -> Requests:
    ends = workload.warmup + workload.duration
    users, free = [0.0] * arrivals.users, [0.0] * servers
    rows = []
    while users[0] < ends:
        due = heapq.heappop(users)
        end = max(due + start_delay, heapq.heappop(free)) + float(service(rng, 1)[0])
        heapq.heappush(free, end)
        heapq.heappush(users, end + arrivals.think)
        rows.append((due, due + start_delay, end))
    due, sent, done = np.array(rows).T
    return Requests(due, sent, done, [Outcome.OK] * due.size, int(np.searchsorted(due, workload.warmup)))


def write_run(
    root: Path,
    requests: Requests,
    arrivals: str = "poisson:rate=50",
    workload: Workload = WORKLOAD,
    workers: int = 1,
    slug: str = "synthetic",
    finish: bool = True,
    client: dict[str, float] | None = None,
    users: Callable[[float, int], float | None] | None = None,
    words: Sequence[int] = (),
    sentences: Sequence[str] = (),
    find_warmup: bool = False,
    lacks: dict[Lack, int] | None = None,
    failures: Sequence[FailureText] = (),
    **manifest: Any,
) -> Run:
    """Writes the requests as a run of `workers` workers; `client` changes fields of the client's samples.

    `lacks` are requests for which the load generator lacked something, `failures` what failed requests said.
    `words` has those of each request, `sentences` the texts of the golden sentences.
    `users` gives the users of a worker at a time, None where it has no sample (any more).
    """
    parsed = parse_arrivals(arrivals)
    origin = {"environment": ENVIRONMENT, "started": "2026-01-31T12:00:00.000000Z", **manifest}
    scheduled = requests.due.size if isinstance(parsed, OpenLoop) else None
    described = describe(workload, parsed, Origin(target="embedded", workers=workers, **origin), scheduled)
    writer = RunWriter.create(root, slug, described, sentences=sentences, find_warmup=find_warmup)
    buffers = [RecordBuffer(worker) for worker in range(workers)]
    second = 1.0
    order = np.argsort(np.where(np.isnan(requests.done), requests.due, requests.done), kind="stable")
    for index in order:
        _append(buffers[index % workers], requests, int(index), workload, words[index] if words else 14)
        if requests.due[index] > second:
            second += 1.0
            for buffer in buffers:
                writer.add_block(buffer.take())
    for buffer in buffers:
        writer.add_block(buffer.take())
    _write_samples(writer, requests, workers, client or {}, users)
    if finish:
        elapsed = float(np.nanmax(requests.done, initial=workload.duration + workload.warmup))
        writer.finish(elapsed=elapsed, lacks=lacks, failures=failures)
    else:
        writer.close()
    return open_run(writer.path)


def settling_run(root: Path, workload: Workload) -> Run:
    """A run at 50 requests/s whose answers take 54 ms for the first 10 s and 4 ms then; its warm-up is found."""
    requests = simulate(workload=workload, service=fixed(0.004))
    requests.done = np.where(requests.due < 10, requests.done + 0.05, requests.done)
    return write_run(root, requests, workload=workload, find_warmup=True)


def _append(buffer: RecordBuffer, requests: Requests, index: int, workload: Workload, words: int) -> None:
    outcome = requests.outcome[index]
    dropped = outcome is Outcome.DROPPED
    answered = outcome in (Outcome.OK, Outcome.WRONG_ANSWER)
    record = RequestRecord(
        due=float(requests.due[index]),
        sent=None if dropped else float(requests.sent[index]),
        done=None if dropped else float(requests.done[index]),
        outcome=outcome,
        wrong_kind=WrongKind.DRIFT if outcome is Outcome.WRONG_ANSWER else None,
        checked=answered,
        protocol="rest" if workload.protocol == "rest" else "grpc",
        signature=workload.signature,
        sentence=index % 200,
        sentences=workload.sentences,
        words=words,
        rows=workload.sentences,
        tokens=16,
        bytes_out=None if dropped else 700,
        bytes_in=600 if answered else None,
        build=None if dropped else 2e-5,
        parse=1e-4 if answered else None,
        version=1 if answered and workload.protocol == "grpc" else None,
        worker=buffer.worker,
        warmup=index < requests.warmup,
    )
    buffer.append_record(record)


def _write_samples(
    writer: RunWriter,
    requests: Requests,
    workers: int,
    client: dict[str, float],
    users: Callable[[float, int], float | None] | None,
) -> None:
    last = float(np.nanmax(requests.done, initial=0.0))
    went = ~np.isnan(requests.sent)
    for time in np.arange(0.0, np.ceil(last) + 1):
        done = requests.done <= time
        sample = ClientSample(time=float(time), worker=0, cpu=0.2, rss=9e7, loop_lag=0.001, machine_cpu=1.2)
        sample = replace(sample, in_flight=float(np.sum(went & (requests.sent <= time) & ~done)) / workers)
        for worker in range(workers):
            present = users(float(time), worker) if users else None
            if users is None or present is not None:
                writer.add_client_sample(replace(sample, worker=worker, users=present, **client))
        total = float(np.sum((requests.done - requests.sent)[done]))
        writer.add_server_sample(
            ServerSample(
                time=float(time),
                cpu=0.8,
                rss=4e8,
                requests_ok=float(done.sum()),
                requests_failed=0.0,
                grpc_count=float(done.sum()),
                grpc_seconds=total * 0.9,
                runtime_count=float(done.sum()),
                runtime_seconds=total * 0.5,
                queue_count=float(done.sum()),
                queue_seconds=total * 0.3,
            )
        )
