"""Figures while a run is in progress, against the final ones of the same requests."""

import csv

import numpy as np
import pytest

from bench.analysis.run import analyse
from bench.load.live.latency_histogram import MOST_BATCHES, LatencyBatches, LatencyHistogram
from bench.load.live.live_figures import KEPT_SECONDS, LiveFigures, LivePlan
from bench.load.live.snapshot import Phase, Snapshot
from bench.objectives.grammar import parse_objectives
from bench.objectives.verdicts import Verdict
from bench.results.blocks import OUTCOME_CODES, ROW, Block, read_blocks
from bench.results.records import Outcome
from bench.results.run_paths import BLOCKS, TIME_SERIES
from bench.results.run_reader import Run
from bench.results.samples import ClientSample
from bench.stats.percentiles import PERCENTILES, nearest_rank
from tests.support.synthetic_runs import WORKLOAD, exponential, simulate, write_run

# Of an HdrHistogram with three significant digits, plus that of whole microseconds.
RESOLUTION = 1.0e-3
SPOILT = {200: Outcome.TIMEOUT, 210: Outcome.WRONG_ANSWER, 220: Outcome.DROPPED, 10: Outcome.REJECTED}


def blocks_of(run: Run) -> list[Block]:
    with (run.path / BLOCKS).open("rb") as file:
        return list(read_blocks(file))


def sample(worker: int, time: float, **values: float) -> ClientSample:
    return ClientSample(worker=worker, time=time, **values)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[LiveFigures, Run, list[LiveFigures]]:
    """Figures of two workers put together, the finished run of the same requests, and the figures of each worker."""
    requests = simulate("poisson:rate=80")
    for index, outcome in SPOILT.items():
        requests.outcome[index] = outcome
    requests.sent[220] = requests.done[220] = np.nan
    folder = tmp_path_factory.mktemp("results")
    plan = LivePlan(WORKLOAD.warmup, WORKLOAD.warmup + WORKLOAD.duration, requests.due)
    workers = [LiveFigures(plan, [worker]) for worker in range(2)]
    for block in blocks_of(write_run(folder, requests, "poisson:rate=80", workers=2, finish=False)):
        workers[block.worker].add_block(block.rows)
    whole = LiveFigures(plan, [])
    for worker, figures in enumerate(workers):
        figures.add_sample(sample(worker, 22.003, in_flight=1.0, waiting=2.0, users=32.0))
        figures.end(worker)
        whole.merge(figures)
    return whole, write_run(folder, requests, "poisson:rate=80", workers=2), workers


def test_each_second_equals_the_final_one_within_the_resolution(
    both: tuple[LiveFigures, Run, list[LiveFigures]],
) -> None:
    figures, run, _ = both
    with (run.path / TIME_SERIES).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 22
    compared = 0
    for row in rows:
        second = figures.second(int(float(row["time"])))
        for name in ("due", "sent", "done"):
            assert getattr(second, name) == float(row[name]), row
        assert {name: float(row[name]) for name in second.outcomes} == second.outcomes
        assert second.warmup == (float(row["warmup"]) > 0)
        for clock in ("from_due", "from_send"):
            for name in ("p50", "p95", "p99"):
                found = getattr(second, clock).get(name)
                assert (found is None) == (row[f"{clock}_{name}"] == "")
                if found is not None:
                    assert found == pytest.approx(float(row[f"{clock}_{name}"]), rel=RESOLUTION, abs=1e-6)
                    compared += 1
    assert compared > 120


def test_so_far_equals_the_final_analysis(both: tuple[LiveFigures, Run, list[LiveFigures]]) -> None:
    figures, run, _ = both
    found, final = figures.snapshot(), analyse(run).summary
    assert found.phase is Phase.ENDED
    assert found.requests == run.file.counts
    assert found.measured_requests == final.counts
    assert found.warmup_requests == final.warmup
    assert found.wrong_kinds["drift"] == 1
    assert found.throughput == pytest.approx(final.metrics["throughput"].center)
    for name in ("from_due_p50", "from_due_p95", "from_due_p99", "from_send_p99", "start_delay_p99"):
        live, stored = found.estimate(name), final.metrics[name]
        assert live.center == pytest.approx(stored.center, rel=RESOLUTION, abs=1e-6)
    assert found.estimate("from_due_p50").lo < final.metrics["from_due_p50"].center < found.estimate("from_due_p50").hi
    assert found.estimate("from_due_p99.9").center is None
    assert "needs 3,688 requests" in found.estimate("from_due_p99.9").warnings[0]


def test_samples_of_workers_add_up(both: tuple[LiveFigures, Run, list[LiveFigures]]) -> None:
    figures, _, workers = both
    last = figures.second(21)
    assert (last.in_flight, last.waiting, last.users) == (2.0, 4.0, 64.0)
    assert workers[0].second(21).users == 32.0
    assert figures.second(3).in_flight is None


def test_a_snapshot_passes_a_process_border(both: tuple[LiveFigures, Run, list[LiveFigures]]) -> None:
    found = both[0].snapshot(seconds=5)
    assert [each.second for each in found.newest] == list(range(found.time - 5, found.time))
    assert b"\n" not in found.to_json()
    assert Snapshot.from_json(found.to_json()) == found


def test_the_backlog_is_what_was_due_and_has_not_ended() -> None:
    requests = simulate("constant:rate=50", service=exponential(0.03))
    figures = LiveFigures(LivePlan(2.0, 22.0, requests.due), [0])
    rows = np.zeros(requests.due.size, ROW)
    rows["due"], rows["sent"], rows["done"] = requests.due, requests.sent, requests.done
    figures.add_block(rows[requests.done < 20.0])
    figures.add_sample(sample(0, 20.0))
    assert figures.complete == 20
    expected = [((requests.due <= end) & (requests.done > end)).sum() for end in range(1, 21)]
    assert figures.backlog(0, 20).tolist() == expected
    assert figures.second(19).open == expected[-1] > 100
    figures.stop(10.5)
    assert figures.backlog(0, 20)[-1] == max((requests.due <= 10.5).sum() - (requests.done < 20.0).sum(), 0)


def test_a_second_is_complete_when_every_worker_has_reported() -> None:
    figures = LiveFigures(LivePlan(2.0, 10.0), [0, 1])
    assert figures.snapshot().phase is Phase.WARMUP
    figures.add_sample(sample(0, 3.002))
    assert figures.complete == 0
    figures.add_sample(sample(1, 2.001))
    assert (figures.complete, figures.snapshot().phase) == (2, Phase.MEASURED)
    figures.end(1)
    assert figures.complete == 3
    figures.stop(3.5)
    assert figures.snapshot().phase is Phase.DRAIN
    assert figures.backlog(0, 3) is None


def test_a_long_run_keeps_a_bounded_number_of_histograms() -> None:
    figures = LiveFigures(LivePlan(0.0, 5000.0), [0])
    for start in range(0, 5000, 250):
        rows = np.zeros(250, ROW)
        rows["due"] = rows["sent"] = np.arange(start, start + 250)
        rows["done"] = rows["due"] + 0.01
        figures.add_block(rows)
    figures.end(0)
    assert figures.second(4999).from_due["p50"] == pytest.approx(0.01, rel=RESOLUTION)
    assert figures.second(4999 - KEPT_SECONDS).from_due == {}
    assert figures.snapshot().estimate("from_due_p99.9").center == pytest.approx(0.01, rel=RESOLUTION)
    assert len(figures._batches["from_due"]._batches) <= MOST_BATCHES


def test_a_run_longer_than_its_history_has_exact_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tenth request fails; the queue at the end is what was due and has not ended."""
    monkeypatch.setattr("bench.load.live.live_figures.HISTORY_SECONDS", 50)
    due = np.arange(20_000) / 4 + 0.1
    figures = LiveFigures(LivePlan(2.0, 5000.0, due, parse_objectives("errors<=20%,throughput>=3/s,max<=1s")), [0])
    rows = np.zeros(due.size, ROW)
    rows["due"] = rows["sent"] = due
    rows["done"] = due + 3.0
    rows["warmup"] = due < 2.0
    rows["outcome"][::10] = OUTCOME_CODES[Outcome.TIMEOUT]
    for second in range(3, 4900):
        figures.add_block(rows[(rows["done"] >= second) & (rows["done"] < second + 1)])
    figures.add_sample(sample(0, 4900.0))
    ended = rows[rows["done"] < 4900]
    found = figures.snapshot()
    assert figures.since > 4700
    assert found.requests["timeout"] == (ended["outcome"] > 0).sum()
    assert sum(found.requests.values()) == ended.size
    assert found.throughput == pytest.approx((ended["outcome"] == 0).sum() / 4898)
    assert found.newest[0].open == figures.backlog(4899, 4900)[0] == 12
    assert (found.newest[0].outcomes["ok"], found.newest[0].outcomes["timeout"]) in ((4, 0), (3, 1))
    assert [entry.verdict for entry in found.objectives] == [Verdict.PASS, Verdict.PASS, Verdict.FAIL]
    assert found.objectives[2].remark == "19,580 of 19,580 requests"


@pytest.mark.parametrize("fraction", PERCENTILES.values())
def test_sums_of_histograms_are_histograms_of_all(fraction: float) -> None:
    rng = np.random.default_rng(7)
    parts = [rng.lognormal(-4, 1.5, size) for size in (1, 10, 5000)]
    whole = LatencyHistogram.of(np.concatenate(parts))
    added = LatencyHistogram.of(parts[0]) + LatencyHistogram.of(parts[1]) + LatencyHistogram.of(parts[2])
    np.testing.assert_array_equal(added.buckets, whole.buckets)
    np.testing.assert_array_equal(added.counts, whole.counts)
    exact = nearest_rank(np.concatenate(parts), [fraction])[0]
    assert whole.percentile(fraction) == pytest.approx(exact, rel=RESOLUTION, abs=1e-6)


def test_batches_of_other_lengths_are_merged() -> None:
    rng = np.random.default_rng(3)
    long, short = LatencyBatches(), LatencyBatches()
    values = rng.exponential(0.01, (300, 20))
    for second, latencies in enumerate(values):
        long.add(second, LatencyHistogram.of(latencies))
    for second, latencies in enumerate(values[:30]):
        short.add(second, LatencyHistogram.of(latencies))
    merged = LatencyBatches()
    merged.merge(short)
    merged.merge(long)
    np.testing.assert_array_equal(merged.histogram.counts, (long.histogram + short.histogram).counts)
    assert long._seconds == merged._seconds == 8
    assert short._seconds == 1


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_intervals_cover_the_truth(correlation: float) -> None:
    """200 runs of 60 s at 50/s whose levels are correlated from second to second; nominal 95 %."""
    rng = np.random.default_rng(11)
    covered, runs = {"p50": 0, "p95": 0}, 200
    truth = {"p50": 0.0, "p95": 1.6448536269514722}
    for _ in range(runs):
        normal = rng.standard_normal(3000)
        if correlation:
            noise, level = rng.standard_normal(3000), 0.0
            for index, shock in enumerate(noise * np.sqrt(1 - correlation**2)):
                level = correlation * level + shock
                normal[index] = level
        batches = LatencyBatches()
        seconds = np.arange(3000) // 50
        for second, histogram in LatencyHistogram.by_second(seconds, 0.05 * np.exp(0.5 * normal)).items():
            batches.add(second, histogram)
        for estimate in batches.estimates("x"):
            name = estimate.metric.removeprefix("x_")
            if name in covered:
                covered[name] += estimate.lo <= 0.05 * np.exp(0.5 * truth[name]) <= estimate.hi
    for name, count in covered.items():
        assert 0.91 * runs <= count, (name, count)


def test_the_first_seconds_have_no_interval() -> None:
    batches = LatencyBatches()
    for second in range(7):
        batches.add(second, LatencyHistogram.of(np.full(20, 0.01)))
    estimate = batches.estimates("x")[0]
    assert estimate.center == pytest.approx(0.01, rel=RESOLUTION)
    assert (estimate.lo, estimate.hi) == (None, None)
    assert "first 8 s" in estimate.warnings[0]
    batches.add(7, LatencyHistogram.of(np.full(20, 0.01)))
    assert batches.estimates("x")[0].hi == pytest.approx(0.01, rel=RESOLUTION)
