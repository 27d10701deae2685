"""The time series and the histogram, against plain loops over the records and the format's own reader."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from bench.results.hdr_log import TAGS, interval_for
from bench.results.records import Outcome
from bench.results.run_reader import Run
from bench.results.timeseries import TimeSeries, to_csv
from tests.support.synthetic_runs import Requests, simulate, write_run


@pytest.fixture(scope="module")
def requests() -> Requests:
    requests = simulate("poisson:rate=80")
    requests.outcome[300] = Outcome.DROPPED
    requests.sent[300] = requests.done[300] = math.nan
    requests.outcome[301] = Outcome.TIMEOUT
    return requests


@pytest.fixture(scope="module")
def run(requests: Requests, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("results"), requests, arrivals="poisson:rate=80")


def test_time_series_counts_and_percentiles(requests: Requests, run: Run) -> None:
    with (run.path / "timeseries.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time"]) for row in rows] == list(range(len(rows)))
    assert [row["warmup"] for row in rows[:3]] == ["1", "1", "0"]
    good = np.array([outcome is Outcome.OK for outcome in requests.outcome])
    for second, row in enumerate(rows):
        inside = {name: np.floor(getattr(requests, name)) == second for name in ("due", "sent", "done")}
        for name, where in inside.items():
            assert float(row[name]) == where.sum()
        assert float(row["ok"]) == (inside["done"] & good).sum()
        latency = np.sort((requests.done - requests.due)[inside["due"] & good])
        if latency.size:
            rank = math.ceil(0.95 * latency.size) - 1
            assert float(row["from_due_p95"]) == pytest.approx(latency[rank], rel=1e-8)
        else:
            assert row["from_due_p95"] == ""
        edges = [np.nanmax([second, start]) for start in requests.sent]
        overlap = np.minimum(second + 1, requests.done) - edges
        assert float(row["in_flight"]) == pytest.approx(np.nansum(np.maximum(overlap, 0)), abs=1e-6)
    assert sum(float(row["dropped"]) for row in rows) == 1
    assert sum(float(row["timeout"]) for row in rows) == 1


def test_no_record_is_an_empty_series_with_the_same_columns(run: Run) -> None:
    empty = TimeSeries()
    assert {values.size for values in empty.close().values()} == {0}
    assert empty.successful_by_due().size == 0
    assert to_csv(empty.close()).strip() == (run.path / "timeseries.csv").read_text().partition("\n")[0]


def test_the_histogram_log_reads_back_with_the_formats_own_reader(requests: Requests, run: Run) -> None:
    good = np.array([outcome is Outcome.OK for outcome in requests.outcome])
    good[: requests.warmup] = False
    expected = {"from-due": requests.done - requests.due, "from-send": requests.done - requests.sent}
    totals = {tag: HdrHistogram(1, 24 * 3600 * 1_000_000, 3) for tag in TAGS}
    reader = HistogramLogReader(str(run.path / "histogram.hlog"), totals["from-due"])
    while (histogram := reader.get_next_interval_histogram()) is not None:
        totals[histogram.get_tag()].add(histogram)
    reader.input_file.close()
    for tag, total in totals.items():
        latency = np.sort(expected[tag][good])
        assert total.get_total_count() == latency.size
        for percent in (50, 95, 99, 100):
            # The reader rounds the rank where we take the next whole one.
            rank = math.ceil(percent / 100 * latency.size) - 1
            value = total.get_value_at_percentile(percent) / 1e6
            assert latency[rank - 1] * 0.998 <= value <= latency[rank] * 1.002


def test_long_runs_get_longer_intervals() -> None:
    assert [interval_for(length) for length in (0.5, 60, 600, 601, 3600)] == [1, 1, 1, 2, 6]


def test_csv_is_plain_numbers(run: Run) -> None:
    text = (Path(run.path) / "timeseries.csv").read_text()
    assert "nan" not in text
    assert text.endswith("\n")
