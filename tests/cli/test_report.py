"""`bertbench report` and `bertbench compare`, as functions of their arguments."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import matplotlib.image
import pytest

from bench.analysis.latency_curves import LatencyCurves, latency_curves
from bench.analysis.measured import load
from bench.analysis.run import Analysis, analyse
from bench.analysis.run_profile import RunProfile, run_profile
from bench.cli import main
from bench.report.runs import run_report
from bench.report.runs.run_report import _PLOTS, write_run_report
from bench.results.records import Outcome
from bench.results.run_reader import Run, find_runs, open_run
from tests.support.synthetic_runs import WORKLOAD, Requests, exponential, simulate, write_run

PNGS = {"latency-percentiles.png", "latency-over-time.png", "throughput-over-time.png", "in-flight.png", "server.png"}


def call(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main([str(word) for word in words], out, err)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    requests = simulate()
    requests.outcome[300] = Outcome.WRONG_ANSWER
    return write_run(tmp_path_factory.mktemp("results"), requests, server={"backend": "<b>|embedded"}, workers=2)


@pytest.fixture(scope="module")
def reported(run: Run) -> tuple[int, str, str]:
    return call("report", run.path)


def test_one_run_is_reported_into_its_own_folder(run: Run, reported: tuple[int, str, str]) -> None:
    code, out, err = reported
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == [run.name, "VALID"]
    assert re.fullmatch(r"1 of [\d,]+ checked answers was wrong \(1 drift\)\.", lines[2])
    text = (run.path / "report.md").read_text(encoding="utf-8")
    assert all(line in text for line in lines[2:5])
    files = {path.name for path in run.path.iterdir()}
    assert PNGS | {"report.md", "report.html", "summary.csv"} <= files
    assert open_run(run.path).finished
    for name in PNGS:
        height, width, _ = matplotlib.image.imread(run.path / name).shape
        assert width == 1350
        assert height > 500


def test_an_earlier_report_keeps_its_plots_until_the_new_one_is_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plot that has no data any more; the report is ended before its pages are written, and then made anew."""
    assert call("report", run.path, "--out", tmp_path)[0] == 0
    plots = [(title, file, draw if file != "server.png" else lambda *_: False) for title, file, draw in _PLOTS]
    monkeypatch.setattr(run_report, "_PLOTS", plots)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_report, "_render", Mock(side_effect=KeyboardInterrupt))
        write_run_report(*analysed(run), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= PNGS
    write_run_report(*analysed(run), tmp_path)
    assert PNGS - {path.name for path in tmp_path.iterdir()} == {"server.png"}
    assert "server.png" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def analysed(run: Run) -> tuple[Analysis, LatencyCurves, RunProfile]:
    measured = load(run)
    curves = latency_curves(run, measured)
    return analyse(run, measured=measured), curves, run_profile(run, measured, curves.interval)


def test_the_page_needs_nothing_beside_it(run: Run, reported: tuple[int, str, str]) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!#)', page)
    assert "&lt;b&gt;|embedded" in page
    assert "<b>|" not in page


def test_the_verdict_comes_first(run: Run, reported: tuple[int, str, str]) -> None:
    text = (run.path / "report.md").read_text(encoding="utf-8")
    assert text.splitlines()[0] == f"# {run.name}"
    assert text.splitlines()[2] == "**VALID**"
    assert "| server: backend | &lt;b>\\|embedded |" in text
    for name in PNGS:
        assert f"]({name})" in text
    assert "latency from due, p95" in text
    assert "latency from send, p95" in text


def test_the_table_adds_up(run: Run, reported: tuple[int, str, str]) -> None:
    with (run.path / "summary.csv").open(encoding="utf-8") as file:
        rows = {row["metric"]: row for row in csv.DictReader(file)}
    assert rows["from_due_p99.9"]["center"] == ""
    assert "needs 3,688" in rows["from_due_p99.9"]["warnings"]
    assert 0.001 < float(rows["from_due_p50"]["center"]) < 0.1
    assert rows["from_due_p50"]["unit"] == "s"
    assert rows["throughput"]["better"] == "higher"
    assert rows["throughput"]["valid"] == "true"


def failing(requests: Requests) -> None:
    requests.outcome = [Outcome.UNAVAILABLE] * requests.due.size


def test_a_run_without_a_good_answer_has_no_latency_plots_and_no_zeros(tmp_path: Path) -> None:
    requests = simulate()
    failing(requests)
    run = write_run(tmp_path, requests)
    code, out, _ = call("report", run.path, "--out", tmp_path / "out")
    assert code == 0
    assert "INVALID: none of the" in out
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert not any(name.startswith("latency") for name in files)
    assert "throughput-over-time.png" in files
    assert re.search(r"latency from due, p50 +—", out)
    assert not (run.path / "report.md").exists()


@pytest.mark.parametrize("finish", [True, False])
def test_an_empty_run_and_an_unfinished_one_are_reported_as_such(tmp_path: Path, finish: bool) -> None:
    empty = Requests(simulate().due[:0], simulate().due[:0], simulate().due[:0], [], 0)
    run = write_run(tmp_path, empty, arrivals="closed:users=1", finish=finish)
    code, out, _ = call("report", run.path)
    assert code == 0
    assert ("did not finish" in out) == (not finish)
    assert "no request was due" in out


def test_several_runs_are_also_put_side_by_side(tmp_path: Path) -> None:
    short = [replace(WORKLOAD, duration=6.0, seed=seed) for seed in (1, 2)]
    pairs = zip(short, ("a", "b"), strict=True)
    runs = [write_run(tmp_path, simulate(workload=own), workload=own, slug=slug) for own, slug in pairs]
    code, out, _ = call("report", tmp_path)
    assert code == 0
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# 2 runs side by side")
    assert all(run.name in text for run in runs)
    assert "No difference in latency between A and B can be shown." in text
    assert f"side by side: {tmp_path.resolve() / 'report' / 'report.html'}" in out
    assert {"latency.png", "metrics.png", "summary.csv", "report.html"} <= {
        path.name for path in (tmp_path / "report").iterdir()
    }
    # The next call does not take the comparison for a run.
    assert [entry.name for entry in find_runs([tmp_path])] == [run.name for run in runs]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (lambda root: ("report", root / "no"), 2, "no run folder"),
        (lambda root: ("report", root), 2, "holds no run"),
        (lambda root: ("compare", root / "no", root), 2, "no run folder"),
    ],
)
def test_bad_paths_get_one_line(
    tmp_path: Path, words: Callable[[Path], tuple[object, ...]], code: int, message: str
) -> None:
    found, out, err = call(*words(tmp_path))
    assert found == code
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_compare_prints_changes_and_refuses_other_loads(tmp_path: Path, run: Run) -> None:
    short = replace(WORKLOAD, duration=6.0, seed=4)
    other = write_run(tmp_path, simulate(workload=short), workload=short)
    code, out, err = call("compare", run.path, other.path)
    assert (code, err) == (0, "")
    assert "differs: workload.seed: 1 against 4" in out
    faster = write_run(tmp_path, simulate("poisson:rate=80", short), "poisson:rate=80", short)
    code, out, err = call("compare", run.path, faster.path)
    assert (code, out) == (3, "")
    assert "different loads" in err
    assert call("compare", run.path, faster.path, "--anyway")[0] == 0


def test_compare_takes_several_sides_and_writes_their_report(tmp_path: Path) -> None:
    short = replace(WORKLOAD, duration=6.0)
    for side, mean, first in (("a", 0.008, 0), ("b", 0.008, 3), ("c", 0.016, 0)):
        for repeat in range(3):
            workload = replace(short, seed=first + repeat)
            requests = simulate("poisson:rate=30", workload, exponential(mean))
            write_run(tmp_path / side, requests, "poisson:rate=30", workload, group=side)
    code, out, err = call("compare", *(tmp_path / side for side in "abc"), "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert out.count("would have seen: the smallest change") == 2
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "**No difference in latency between A and B can be shown.**" in text
    assert "**C is slower than A.**" in text
    assert re.search(r"latency from due, p50: \+[\d.]+ % \[.*\], worse: more than noise, by the 95 % interval\.", text)
    assert f"report: {tmp_path / 'out' / 'report.html'}" in out
