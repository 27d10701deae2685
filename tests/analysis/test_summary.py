"""Figures of runs whose truth is known."""

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.measured import load
from bench.analysis.metrics import METRICS
from bench.analysis.run import analyse
from bench.analysis.summary import RunSummary, mean_in_flight
from bench.results.records import Outcome
from bench.results.run_reader import Run, open_run
from bench.workload.workload import Workload
from tests.support.synthetic_runs import WORKLOAD, Requests, fixed, simulate, write_run

LONG = replace(WORKLOAD, duration=60.0)


def center(summary: RunSummary, name: str) -> float:
    value = summary.metrics[name].center
    assert value is not None
    return value


def fail(requests: Requests, index: int, outcome: Outcome) -> None:
    requests.outcome[index] = outcome
    if outcome is Outcome.DROPPED:
        requests.sent[index] = requests.done[index] = math.nan


def test_figures_against_plain_arithmetic(tmp_path: Path) -> None:
    requests = simulate(workload=LONG)
    for index, outcome in enumerate(Outcome):
        fail(requests, 500 + index, outcome)
    fail(requests, 3, Outcome.TIMEOUT)
    found = analyse(write_run(tmp_path, requests, workload=LONG, workers=3)).summary
    size = requests.due.size - requests.warmup
    assert found.due == size
    assert found.counts == {str(outcome): 1 for outcome in Outcome} | {"ok": size - len(Outcome) + 1}
    assert found.wrong_kinds == {"drift": 1}
    assert found.warmup["timeout"] == 1
    assert sum(found.warmup.values()) == requests.warmup
    good = np.array([outcome is Outcome.OK for outcome in requests.outcome])
    ended = requests.done[good]
    good[: requests.warmup] = False
    for clock, start in (("from_due", requests.due), ("from_send", requests.sent)):
        latency = np.sort((requests.done - start)[good])
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
            assert center(found, f"{clock}_{name}") == latency[math.ceil(share * latency.size) - 1]
        assert center(found, f"{clock}_mean") == pytest.approx(latency.mean())
        assert center(found, f"{clock}_max") == latency[-1]
    assert center(found, "throughput") == pytest.approx(((ended >= 2) & (ended < 62)).sum() / 60)
    assert center(found, "word_rate") == pytest.approx(14 * center(found, "throughput"))
    assert center(found, "error_share") == pytest.approx((len(Outcome) - 1) / size)
    assert center(found, "wrong_share") == pytest.approx(1 / good.sum(), rel=0.01)
    assert center(found, "dropped_share") == pytest.approx(1 / size)
    assert center(found, "start_delay_p99") == pytest.approx(0.0002)
    assert (center(found, "bytes_out"), center(found, "bytes_in")) == (700, 600)
    assert center(found, "server_cpu") == pytest.approx(0.8)
    assert center(found, "server_memory") == 4e8
    ratio = center(found, "server_queue") / center(found, "server_request")
    assert ratio == pytest.approx(0.3 / 0.9)


def test_percentiles_of_a_known_queue_lie_in_their_intervals(tmp_path: Path) -> None:
    """A queue of mean service 10 ms at half load: latency is exponential with mean 20 ms."""
    workload = replace(WORKLOAD, duration=400.0, seed=3)
    found = analyse(write_run(tmp_path, simulate(workload=workload, start_delay=0.0), workload=workload)).summary
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        summary = found.metrics[f"from_due_{name}"]
        assert summary.lo is not None
        assert summary.hi is not None
        assert summary.lo <= -math.log(1 - share) * 0.02 <= summary.hi, name
        assert summary.n < found.due / 2


def test_a_freeze_is_seen_from_due(tmp_path: Path) -> None:
    """5 s without an answer in 30 s at 40/s: requests due in it wait for its end, whatever the client did."""
    workload = replace(WORKLOAD, duration=30.0, warmup=0.0, users=400)
    arrivals = "constant:rate=40"
    requests = simulate(arrivals, workload, service=fixed(0.005), frozen=(10.0, 15.0))
    found = analyse(write_run(tmp_path, requests, arrivals, workload)).summary
    # The k-th request due in the freeze is answered at 15 + 0.005 (k + 1): latencies 5.005 - 0.02 k, 1200 in all.
    for name, larger in (("p90", 120), ("p95", 60), ("p99", 12)):
        assert center(found, f"from_due_{name}") == pytest.approx(5.005 - 0.02 * larger, abs=0.001)
    assert center(found, "from_due_p50") < 0.006


def test_no_good_answer_has_null_percentiles_and_never_zero(tmp_path: Path) -> None:
    requests = simulate()
    requests.outcome = [Outcome.TIMEOUT] * requests.due.size
    found = analyse(write_run(tmp_path, requests))
    for name, summary in found.summary.metrics.items():
        if name.startswith(("from_due", "from_send")):
            assert summary.center is None, name
    assert center(found.summary, "error_share") == 1.0
    assert center(found.summary, "throughput") == 0.0
    assert not found.validity.valid


def test_a_run_without_a_request(tmp_path: Path) -> None:
    requests = Requests(np.empty(0), np.empty(0), np.empty(0), [], 0)
    found = analyse(write_run(tmp_path, requests, arrivals="closed:users=1"))
    assert found.summary.due == 0
    assert found.summary.metrics["error_share"].center is None
    assert found.validity.reasons == ("no request was due in the measured part",)


def test_percentiles_say_when_failures_are_left_out(tmp_path: Path) -> None:
    requests = simulate(workload=LONG)
    for index in range(500, 560):
        requests.outcome[index] = Outcome.TIMEOUT
    found = analyse(write_run(tmp_path, requests, workload=LONG)).summary.metrics
    assert not any("failed" in warning for warning in found["from_due_p95"].warnings)
    assert any("of the requests failed" in warning for warning in found["from_due_p99"].warnings)


def test_both_protocols_are_also_given_apart(tmp_path: Path) -> None:
    requests = simulate()
    run = write_run(tmp_path, requests)
    measured = load(run)
    assert measured.protocols() == {}
    half = np.arange(measured.due.size) % 2 == 0
    mixed = replace(measured, protocol=half.astype(np.uint8))
    parts = mixed.protocols()
    assert set(parts) == {"rest", "grpc"}
    assert sum(part.due.size for part in parts.values()) == measured.due.size
    np.testing.assert_array_equal(parts["grpc"].due, measured.due[half])


def test_no_failure_still_has_an_upper_bound(tmp_path: Path) -> None:
    """None of n failed: the exact 95 % bound is 1 - 0.025 ** (1 / n)."""
    found = analyse(write_run(tmp_path, simulate())).summary
    summary = found.metrics["error_share"]
    assert (summary.center, summary.lo) == (0.0, 0.0)
    assert summary.hi == pytest.approx(1 - 0.025 ** (1 / found.due), rel=0.02)


def test_mean_in_flight_is_that_of_littles_law(tmp_path: Path) -> None:
    measured = load(write_run(tmp_path, simulate(workload=LONG), workload=LONG))
    direct = mean_in_flight(measured)
    law = measured.due.size / 60 * float((measured.done - measured.sent).mean())
    assert direct == pytest.approx(law, rel=0.02)


def test_a_long_queue_takes_nothing_off_throughput_and_in_flight(tmp_path: Path) -> None:
    """64 users, 0.1 s between two answers, so 6.4 s each: what the warm-up left open is done in the measured part."""
    workload = replace(WORKLOAD, users=64, warmup=10.0, duration=40.0)
    done = 0.1 * np.arange(1, 565)
    due = np.concatenate((np.zeros(64), done[:-64]))
    requests = Requests(due, due.copy(), done, [Outcome.OK] * due.size, int((due < 10.0).sum()))
    found = analyse(write_run(tmp_path, requests, "closed:users=64", workload)).summary
    assert center(found, "throughput") == pytest.approx(10.0, rel=0.01)
    assert center(found, "word_rate") == pytest.approx(140.0, rel=0.01)
    assert center(found, "in_flight") == pytest.approx(64.0, rel=0.01)


def test_every_metric_has_a_title_and_a_unit() -> None:
    units = ("s", "1/s", "share", "B", "cores", "W", "J", "")
    assert all(metric.title and metric.unit in units for metric in METRICS.values())


def test_an_unfinished_run_is_summarised_up_to_where_it_got(tmp_path: Path) -> None:
    workload: Workload = replace(WORKLOAD, duration=100.0)
    requests = simulate(workload=WORKLOAD)
    run = write_run(tmp_path, requests, workload=workload, finish=False)
    measured = load(run)
    assert measured.ends == pytest.approx(np.max(requests.done))
    assert not analyse(run).validity.valid


@pytest.mark.parametrize("rate", [2, 6])
def test_a_rate_of_few_requests_is_advised_a_length_that_helps(tmp_path: Path, rate: int) -> None:
    """As many bins as events / 5 at most: what the advice names must give the fifty that an interval rests on."""
    arrivals = f"constant:rate={rate}"
    run = write_run(tmp_path / "short", simulate(arrivals, WORKLOAD), arrivals, WORKLOAD)
    short = analyse(run).summary.metrics["throughput"]
    found = re.fullmatch(r"(\d+) events are few for a rate; run ([\d.]+) times as long, or repeat", *short.warnings)  # type: ignore[call-overload]
    assert found is not None
    assert int(found[1]) * float(found[2]) >= 250
    longer = replace(WORKLOAD, duration=WORKLOAD.duration * float(found[2]) * 1.05)
    again = analyse(write_run(tmp_path / "long", simulate(arrivals, longer), arrivals, longer))
    assert not any("few for a rate" in warning for warning in again.summary.metrics["throughput"].warnings)


@pytest.mark.parametrize(("events", "low", "high"), [(1, 0.0253, 5.572), (4, 1.09, 10.24), (19, 11.44, 29.67)])
def test_a_rate_of_few_requests_is_as_sure_as_their_number_is(
    tmp_path: Path, events: int, low: float, high: float
) -> None:
    """Garwood's exact interval of a count. With one request, 0.05/s was known to be below 0.16/s."""
    workload = replace(WORKLOAD, warmup=0.0)
    requests = simulate("constant:rate=1", workload)
    due, sent, done = (values[:events] for values in (requests.due, requests.sent, requests.done))
    requests = Requests(due, sent, done, requests.outcome[:events], 0)
    run = write_run(tmp_path, requests, "constant:rate=1", workload)
    found = analyse(run).summary.metrics
    for name, each in (("throughput", 1.0), ("word_rate", 14.0)):
        rate = found[name]
        assert rate.center == pytest.approx(each * events / 20)
        assert rate.lo is not None
        assert rate.hi is not None
        assert rate.lo <= each * low / 20
        assert rate.hi >= each * high / 20 * 0.999


def test_no_answer_at_all_is_no_reason_to_run_longer(tmp_path: Path) -> None:
    requests = simulate()
    requests.outcome[:] = [Outcome.REJECTED] * requests.due.size
    found = analyse(write_run(tmp_path, requests)).summary.metrics["throughput"]
    assert (found.center, found.lo, found.hi) == (0.0, None, None)
    assert found.warnings == ("nothing was counted: the interval is unknown",)


def test_start_delays_of_too_few_requests_are_absent(tmp_path: Path) -> None:
    """As latencies are: a p50 needs 6, a p99 368 requests."""
    for count, known in ((1, set()), (6, {"start_delay_p50"}), (368, {"start_delay_p50", "start_delay_p99"})):
        due = 3.0 + 0.05 * np.arange(count)
        requests = Requests(due, due + 0.001, due + 0.01, [Outcome.OK] * count, 0)
        found = analyse(write_run(tmp_path, requests)).summary.metrics
        delays = {name: entry for name, entry in found.items() if name.startswith("start_delay")}
        assert {name for name, entry in delays.items() if entry.center is not None} == known
        assert all("needs" in entry.warnings[0] for entry in delays.values() if entry.center is None)


def test_as_many_failures_as_lie_beyond_a_percentile_are_no_warning(tmp_path: Path) -> None:
    for count, of in ((5, 50), (2, 20), (1, 10), (7, 70)):
        due = 3.0 + 0.05 * np.arange(of)
        outcomes = [Outcome.TIMEOUT] * count + [Outcome.OK] * (of - count)
        requests = Requests(due, due + 0.001, due + 0.01, outcomes, 0)
        analysis = analyse(write_run(tmp_path, requests))
        p90 = analysis.summary.metrics["from_due_p90"]
        assert not any("failed" in warning for warning in p90.warnings)


def rewritten(path: Path, change: Callable[[dict[str, str]], None]) -> Run:
    """The run with its samples of the server changed, each a mapping from column to cell."""
    file = path / "server-metrics.csv"
    names, *rows = (line.split(",") for line in file.read_text().splitlines())
    for row in rows:
        cells = dict(zip(names, row, strict=True))
        change(cells)
        row[:] = [cells[name] for name in names]
    file.write_text("".join(",".join(row) + "\n" for row in (names, *rows)))
    return open_run(path, verify=False)


@pytest.mark.parametrize("counted", [True, False])
def test_cpu_and_energy_of_a_request_do_not_depend_on_the_length_of_a_run(tmp_path: Path, counted: bool) -> None:
    """0.8 cores and 40 W under 50 requests/s. Samples lie a second apart, so they cover 4 of 5.5 s."""
    workload = replace(WORKLOAD, duration=5.0, warmup=0.5)
    arrivals = "constant:rate=50"
    requests = simulate(arrivals, workload, service=fixed(0.004))

    def change(row: dict[str, str]) -> None:
        row["gpu_energy"] = str(1e6 + 40 * float(row["time"]))
        if not counted:
            row["requests_ok"] = ""

    path = write_run(tmp_path, requests, arrivals, workload).path
    found = analyse(rewritten(path, change)).summary
    assert center(found, "server_cpu_per_request") == pytest.approx(0.8 / 50, rel=0.01)
    assert center(found, "server_gpu_energy") == pytest.approx(40 / 50, rel=0.01)


def test_cpu_of_a_request_from_one_sample_is_that_of_the_measured_part(tmp_path: Path) -> None:
    workload = replace(WORKLOAD, duration=1.0, warmup=0.5)
    arrivals = "constant:rate=50"
    run = write_run(tmp_path, simulate(arrivals, workload, service=fixed(0.004)), arrivals, workload)
    found = analyse(run).summary
    assert center(found, "server_cpu_per_request") == pytest.approx(0.8 / 50, rel=0.03)


def test_the_energy_of_a_gpu_is_that_of_a_sentence(tmp_path: Path) -> None:
    """2 J a request, of four sentences each; the counter began before the run."""
    workload = replace(WORKLOAD, sentences=4)

    def change(row: dict[str, str]) -> None:
        row["gpu_power"], row["gpu_energy"] = "250.5", str(1e6 + 2 * float(row["requests_ok"]))

    path = write_run(tmp_path, simulate(workload=workload), workload=workload).path
    metrics = analyse(rewritten(path, change)).summary.metrics
    assert metrics["server_gpu_power"].center == 250.5
    assert metrics["server_gpu_energy"].center == pytest.approx(0.5)
