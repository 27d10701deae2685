"""The charts of runs whose truth is known, as data for the page."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.latency_curves import LatencyCurves, latency_curves
from bench.analysis.measured import load
from bench.analysis.run import analyse
from bench.analysis.run_profile import run_profile
from bench.analysis.time_by_second import TimeBySecond
from bench.core.types import Floats
from bench.report.charts import Chart
from bench.report.runs.run_charts import run_charts
from bench.report.runs.run_reports import write_sides
from bench.results.records import Outcome
from bench.results.run_reader import Run
from tests.report.test_first_screen import page_data
from tests.support.synthetic_runs import WORKLOAD, fixed, simulate, write_run

SAMPLED = {"client-cpu", "client-lag", "server-time", "time-by-second", "server-cpu"}


def charts(run: Run) -> tuple[LatencyCurves, dict[str, Chart]]:
    measured = load(run)
    curves = latency_curves(run, measured)
    found = run_charts(analyse(run, measured=measured), curves, run_profile(run, measured, curves.interval))
    return curves, {chart.name: chart for chart in found}


def test_the_requests_of_a_percentile_over_time_are_those_that_it_is_of(tmp_path: Path) -> None:
    """The server stands still for 4 s: what was due then is done later."""
    requests = simulate(frozen=(8.0, 12.0))
    requests.outcome[200] = Outcome.REJECTED
    latency = charts(write_run(tmp_path, requests))[1]["latency-over-time"]
    ok = np.array([outcome is Outcome.OK for outcome in requests.outcome])
    due = np.bincount(np.floor(requests.due[ok]).astype(int), minlength=latency.x.size)
    for line in latency.series:
        assert line.counts is not None
        np.testing.assert_array_equal(line.counts, due)


@pytest.mark.parametrize(("seconds", "known"), [(600.0, 200), (601.0, 201)])
def test_a_constant_rate_is_constant_to_the_end(tmp_path: Path, seconds: float, known: int) -> None:
    """Intervals of 3 s: the last one of 601 s has one, too few for a rate, and that of 602 s has two."""
    workload = replace(WORKLOAD, duration=seconds, warmup=1.0)
    run = write_run(
        tmp_path, simulate("constant:rate=20", workload, service=fixed(0.003)), "constant:rate=20", workload
    )
    curves, found = charts(run)
    assert curves.interval == 3.0
    lines = {line.label: line.values for line in found["throughput"].series}
    lines["in flight"] = found["in-flight"].series[0].values / 0.003
    for label, values in lines.items():
        there = values[~np.isnan(values)]
        assert there == pytest.approx(np.full(known, 20.0), rel=0.02), label


def test_failures_at_the_end_are_not_left_out(tmp_path: Path) -> None:
    """The last answer of a run of 22 s comes 2 ms later, a failure."""
    requests = simulate("constant:rate=20", service=fixed(0.003))
    requests.done[-1], requests.outcome[-1] = 22.002, Outcome.REJECTED
    (errors,) = charts(write_run(tmp_path, requests, "constant:rate=20"))[1]["errors"].series
    assert errors.values[-1] == 2.0


def test_a_day_of_samples_is_a_page_of_bounded_size_with_its_largest_values(tmp_path: Path) -> None:
    """One second in a day has the largest of each value, another the smallest latency, and an hour has no samples."""
    run = write_run(tmp_path, simulate())
    measured = load(run)
    curves, rng = latency_curves(run, measured), np.random.default_rng(1)
    time = np.arange(1.0, 86_401.0)

    def day(spike: int, low: int = 40_000) -> Floats:
        values = rng.uniform(1.0, 2.0, time.size)
        values[spike], values[low], values[50_000:53_600] = 9.0, 0.5, np.nan
        return values

    parts = [day(70_000) for _ in range(6)]
    found = TimeBySecond(time, day(70_000), np.sum(parts, axis=0), *parts)
    long = replace(
        curves,
        client={name: day(12_345) for name in curves.client} | {"time": time},
        server={name: day(54_321) for name in curves.server} | {"time": time},
        parts=found,
    )
    charts = run_charts(analyse(run, measured=measured), long, run_profile(run, measured, 1.0))
    thinned = {chart.name: chart for chart in charts if chart.name in SAMPLED}
    assert thinned.keys() == SAMPLED
    for name, chart in thinned.items():
        assert chart.x.size == 300
        assert (np.diff(chart.x) > 0).all() or name == "time-by-second"
        assert "smallest and" in chart.note
        assert "largest" in chart.note
        assert "each 9 m 36 s" in chart.note
        for line in chart.series:
            least = 3.0 if line.label == "all: latency from due" else 0.5
            assert np.nanmax(line.values) >= 9.0, (name, line.label)
            assert np.nanmin(line.values) <= least, (name, line.label)
    *own, latency = (line.values for line in thinned["time-by-second"].series)
    np.testing.assert_allclose(sum(own), latency)
    assert len(json.dumps([chart.to_json() for chart in charts])) < 200_000


@pytest.mark.parametrize("count", [7, 9, 24, 25])
def test_many_runs_are_told_apart_or_said_to_be_left_out(tmp_path: Path, count: int) -> None:
    workload = replace(WORKLOAD, duration=4.0, warmup=1.0)
    runs = [
        write_run(
            tmp_path / "runs", simulate(workload=replace(workload, seed=seed)), workload=workload, slug=f"r{seed}"
        )
        for seed in range(count)
    ]
    write_sides([[analyse(run)] for run in runs], tmp_path / "out")
    data = page_data(tmp_path / "out" / "report.html")
    texts = [(tmp_path / "out" / name).read_text("utf-8") for name in ("report.md", "report.html")]
    assert all(("Changes against A are given for up to 7 sides" in text) == (count > 7) for text in texts)
    assert all(("B against A" in text) for text in texts)
    assert all(("Charts are drawn for up to 24 runs" in text) == (count > 24) for text in texts)
    assert bool(data["charts"]) == (count <= 24)
    for chart in data["charts"]:  # type: ignore[attr-defined]
        looks = [(line["color"], line["dash"]) for line in chart["series"]]
        assert len(set(looks)) == count
        groups = {line["group"] for line in chart["series"]}
        assert {mark["group"] for mark in chart["marks"]} <= groups
