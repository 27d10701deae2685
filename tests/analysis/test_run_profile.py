"""The profile of runs whose truth is known: heat map, words, start delay, the slowest requests, parts of the time."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.bottleneck import Limit, bottleneck
from bench.analysis.measured import load
from bench.analysis.run import Analysis, analyse
from bench.analysis.run_profile import SLOWEST, RunProfile, run_profile
from bench.analysis.time_breakdown import time_breakdown
from bench.results.environment import Environment
from bench.results.records import Outcome
from bench.results.run_reader import Run
from tests.support.synthetic_runs import ENVIRONMENT, WORKLOAD, Requests, exponential, simulate, write_run


def profile(run: Run, interval: float = 1.0) -> RunProfile:
    return run_profile(run, load(run), interval)


@pytest.fixture(scope="module")
def requests() -> Requests:
    found = simulate()
    for index in (400, 401):
        found.outcome[index] = Outcome.WRONG_ANSWER
    found.outcome[500] = Outcome.TIMEOUT
    found.done[500] = found.due[500] + 3.0
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, requests: Requests) -> Run:
    words = [5 if index % 2 else 30 for index in range(requests.due.size)]
    texts = [f"sentence {index}\nin two lines" for index in range(200)]
    return write_run(tmp_path_factory.mktemp("profile"), requests, words=words, sentences=texts)


def test_the_heat_map_has_each_successful_request_once(run: Run, requests: Requests) -> None:
    heat = profile(run).heat_map
    measured = slice(requests.warmup, None)
    ok = np.array([outcome is Outcome.OK for outcome in requests.outcome])[measured]
    due, done = requests.due[measured][ok], requests.done[measured][ok]
    assert heat.counts.sum() == ok.sum()
    columns, _ = np.histogram(due, heat.times)
    assert heat.counts.sum(1).tolist() == columns.tolist()
    assert heat.latencies[0] == pytest.approx((done - due).min())
    assert heat.latencies[-1] == pytest.approx((done - due).max())
    assert heat.counts.shape[0] <= 200


def test_groups_by_words(run: Run, requests: Requests) -> None:
    few, many = profile(run).words
    assert (few.least, few.most, many.least, many.most) == (5, 5, 30, 30)
    index = np.arange(requests.due.size)
    for group, odd in ((few, 1), (many, 0)):
        here = (index >= requests.warmup) & (index % 2 == odd)
        here &= np.array([outcome is Outcome.OK for outcome in requests.outcome])
        assert group.requests == here.sum()
        latency = np.sort((requests.done - requests.due)[here])
        assert group.latencies["p50"].center == pytest.approx(latency[int(np.ceil(latency.size / 2)) - 1])


def test_many_sizes_are_put_into_groups_of_about_equal_size(tmp_path: Path) -> None:
    requests = simulate()
    groups = profile(write_run(tmp_path, requests, words=[1 + index % 100 for index in range(requests.due.size)])).words
    assert len(groups) == 16
    assert sum(group.requests for group in groups) == requests.due.size - requests.warmup
    assert all(before.most < after.least for before, after in itertools.pairwise(groups))


def test_start_delays_of_each_interval(tmp_path: Path) -> None:
    requests = simulate()
    requests.sent[:] = requests.due + np.where(requests.due < 10, 0.001, 0.004)
    requests.done = np.maximum(requests.done, requests.sent)
    delay = profile(write_run(tmp_path, requests), 2.0).start_delay
    assert delay["time"].tolist() == list(range(0, 22, 2))
    assert np.isnan(delay["p50"][0])
    assert delay["p99"][1:5] == pytest.approx([0.001] * 4)
    assert delay["p50"][5:] == pytest.approx([0.004] * 6)


def test_wrong_answers_by_kind_over_time(run: Run, requests: Requests) -> None:
    wrong = profile(run).wrong
    assert list(wrong) == ["drift"]
    assert wrong["drift"].sum() == 2
    assert wrong["drift"][int(requests.done[400])] >= 1


def test_the_slowest_requests_come_first_whatever_their_outcome(run: Run, requests: Requests) -> None:
    slowest = profile(run).slowest
    assert len(slowest) == SLOWEST
    assert slowest[0].outcome == "timeout"
    assert slowest[0].latency == pytest.approx(3.0)
    latency = (requests.done - requests.due)[requests.warmup :]
    assert [entry.latency for entry in slowest] == pytest.approx(np.sort(latency)[::-1][:SLOWEST].tolist())
    assert run.sentences()[slowest[0].sentence] == f"sentence {500 % 200} in two lines"


def test_a_run_without_a_success_has_a_profile(tmp_path: Path) -> None:
    requests = simulate()
    requests.outcome = [Outcome.DROPPED] * requests.due.size
    requests.sent[:] = requests.done[:] = np.nan
    found = profile(write_run(tmp_path, requests))
    assert found.heat_map is None
    assert (found.words, found.wrong, found.slowest) == ((), {}, ())
    assert np.isnan(found.start_delay["p50"]).all()


def test_runs_of_before_have_no_sentences(tmp_path: Path) -> None:
    assert write_run(tmp_path, simulate()).sentences() == ()


def test_the_parts_of_the_time_sum_to_the_latency(tmp_path: Path) -> None:
    summary = analyse(write_run(tmp_path, simulate())).summary
    parts = time_breakdown(summary)
    assert [part.name.split(":")[0] for part in parts[:-1]] == ["client", "server", "server", "server"]
    assert sum(part.seconds for part in parts) == pytest.approx(summary.metrics["from_due_mean"].center)
    assert all(part.seconds >= 0 for part in parts)
    # Of the time from send, the server's counters have 0.9 as request, of which 0.5 runtime, of which 0.3 in the queue.
    send = summary.metrics["from_send_mean"].center
    assert [part.seconds / send for part in parts[1:]] == pytest.approx([0.3, 0.2, 0.4, 0.1], rel=0.02)


def test_parts_that_exceed_each_other_are_not_divided(tmp_path: Path) -> None:
    summary = analyse(write_run(tmp_path, simulate())).summary
    longer = replace(summary.metrics["server_queue"], center=2 * summary.metrics["server_runtime"].center)
    parts = time_breakdown(replace(summary, metrics={**summary.metrics, "server_queue": longer}))
    assert [part.name for part in parts[1:-1]] == ["server: request"]
    assert sum(part.seconds for part in parts) == pytest.approx(summary.metrics["from_due_mean"].center)


def test_a_server_without_timings_has_no_parts(tmp_path: Path) -> None:
    summary = analyse(write_run(tmp_path, simulate())).summary
    without = {name: value for name, value in summary.metrics.items() if name != "server_request"}
    assert time_breakdown(replace(summary, metrics=without)) == []


def overloaded(requests: Requests) -> None:
    """64 users that all wait, as responses take 2 s after a while, so that requests are sent late."""
    for index in np.flatnonzero(requests.due > 10):
        requests.sent[index] = max(requests.sent[index], requests.done[index - 64])
        requests.done[index] = requests.sent[index] + 2.0


def starved(requests: Requests) -> None:
    requests.sent += 0.03
    requests.done += 0.03


def lost(requests: Requests) -> None:
    requests.outcome = [Outcome.UNAVAILABLE] * requests.due.size


@pytest.mark.parametrize(
    ("arrivals", "users", "change", "client", "limit", "words"),
    [
        ("poisson:rate=50", 64, None, {}, Limit.RATE, "offered 50 requests/s"),
        ("poisson:rate=50", 64, starved, {}, Limit.CLIENT, "it sent requests late"),
        ("poisson:rate=50", 64, overloaded, {}, Limit.SERVER, "fell behind"),
        ("poisson:rate=50", 64, lost, {}, Limit.UNKNOWN, "No request was successful"),
        ("closed:users=4", 4, None, {}, Limit.USERS, "4 users, each waiting"),
        ("closed:users=4", 4, None, {"cpu": 0.95}, Limit.CLIENT, "it used all of its processor"),
    ],
)
def test_what_limits_a_run(
    tmp_path: Path,
    arrivals: str,
    users: int,
    change: Callable[[Requests], None] | None,
    client: dict[str, float],
    limit: Limit,
    words: str,
) -> None:
    workload = replace(WORKLOAD, users=users)
    requests = simulate(arrivals, workload, exponential(0.005))
    if change is not None:
        change(requests)
    found = bottleneck(analyse(write_run(tmp_path, requests, arrivals, workload, client=client)))
    assert found.limit is limit
    assert words in found.text


def with_server_cpu(analysis: Analysis, cores: float) -> Analysis:
    metrics = dict(analysis.summary.metrics)
    metrics["server_cpu"] = replace(metrics["server_cpu"], center=cores)
    return replace(analysis, summary=replace(analysis.summary, metrics=metrics))


LARGE = replace(ENVIRONMENT, cores=64, cores_allowed=64)


@pytest.mark.parametrize(
    ("backend", "target", "environment", "limit", "words"),
    [
        ("embedded", "embedded", LARGE, Limit.USERS, "used 1.7 of 64 cores (2.7 %)"),
        ("embedded", "embedded", replace(LARGE, cpu_limit=2.0), Limit.MACHINE, "share 2 cores"),
        ("embedded", "embedded", replace(LARGE, cpu_limit=1.8), Limit.SERVER, "used 1.7 of 1.8 cores"),
        ("embedded", "embedded", replace(LARGE, cores_allowed=2, cpu_limit=8.0), Limit.MACHINE, "share 2 cores"),
        ("binary", "a name of mine", replace(LARGE, cpu_limit=2.0), Limit.MACHINE, "share 2 cores"),
        # The container of a server has limits of its own.
        ("docker", "docker:cpu", replace(LARGE, cpu_limit=2.0), Limit.USERS, "used 1.7 of 64 cores"),
        ("docker", "docker:cpu,cpus=1.8", LARGE, Limit.SERVER, "used 1.7 of 1.8 cores"),
        ("docker", "docker:cpu,cpus=4,cpuset=0-2", LARGE, Limit.USERS, "used 1.7 of 3 cores"),
        ("remote", "http://10.0.0.2:8501", replace(LARGE, cpu_limit=1.0), Limit.USERS, "used 1.7 of 64 cores"),
    ],
)
def test_the_cores_of_a_limit_of_cpu_are_those_that_count(
    tmp_path: Path, backend: str, target: str, environment: Environment, limit: Limit, words: str
) -> None:
    workload = replace(WORKLOAD, users=4)
    requests = simulate("closed:users=4", workload)
    run = write_run(
        tmp_path, requests, "closed:users=4", workload, environment=environment, server={"backend": backend}
    )
    run = replace(run, file=replace(run.file, manifest=replace(run.manifest, target=target)))
    found = bottleneck(with_server_cpu(analyse(run), 1.7))
    assert found.limit is limit
    assert words in found.text


@pytest.mark.parametrize(("server", "limit"), [(1.9, Limit.SERVER), (1.7, Limit.MACHINE), (1.2, Limit.USERS)])
def test_the_cores_limit_a_closed_loop(tmp_path: Path, server: float, limit: Limit) -> None:
    workload = replace(WORKLOAD, users=4)
    analysis = analyse(write_run(tmp_path, simulate("closed:users=4", workload), "closed:users=4", workload))
    assert bottleneck(with_server_cpu(analysis, server)).limit is limit
