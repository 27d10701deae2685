"""Repeats together: only VALID ones, the run as the unit."""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.compare import compare, side_estimate
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis, analyse
from bench.cli import main
from bench.core.units import format_interval, format_number, format_seconds
from bench.report import text
from bench.report.comparison import comparison_text
from bench.report.runs.repeats import repeats_views
from bench.report.runs.sides import overview_rows, pair_views, sides_of
from bench.results.records import Outcome
from bench.results.run_reader import open_run
from bench.stats.between_runs import mean_of_runs
from tests.support.json_documents import document
from tests.support.synthetic_runs import WORKLOAD, simulate, write_run


def repeat(root: Path, seed: int, group: str = "one", late: float = 0.0, failed: int = 0) -> Analysis:
    workload = replace(WORKLOAD, seed=seed, sentences=4, scenario="rest")
    requests = simulate(workload=workload)
    requests.sent[:] += late
    requests.done[:] += late
    requests.outcome[300 : 300 + failed] = [Outcome.TIMEOUT] * failed
    return analyse(write_run(root, requests, workload=workload, group=group, repeat=seed))


def row(view: Any, title: str) -> tuple[str, ...]:
    (found,) = [row for row in view.rows if row[0] == title]
    return found  # type: ignore[no-any-return]


def test_the_figures_are_those_of_the_valid_runs_with_the_interval_between_them(tmp_path: Path) -> None:
    runs = [repeat(tmp_path, seed, late=0.02 if seed == 3 else 0.0) for seed in range(5)]
    valid = [run for run in runs if run.validity.valid]
    assert len(valid) == 4
    (view,) = repeats_views(runs)
    assert view.title == "5 repeats of rest, poisson:rate=50: 4 VALID, 1 INVALID"
    for name, title, figure in (
        ("throughput", "successful requests/s", format_number),
        ("sentence_rate", "sentences/s", format_number),
        ("from_due_p50", "latency from due, p50", format_seconds),
    ):
        values = [run.summary.metrics[name].center for run in valid]
        mean = mean_of_runs(name, values)
        expected = (title, figure(mean.center), format_interval(mean.lo, mean.hi, figure))
        assert row(view, title) == (*expected, format_interval(min(values), max(values), figure))
    # Requests pooled over all runs, or the INVALID one among them, would give another figure.
    assert row(view, "latency from due, p50")[1] != format_seconds(
        float(np.median([run.summary.metrics["from_due_p50"].center + 0.004 for run in runs]))
    )
    assert list(view.notes) == [text.MEANS, "INVALID repeats are left out"]


def test_a_side_has_one_mean_wherever_it_stands(tmp_path: Path) -> None:
    """Two repeats of B are sent 20 ms late, which is the load generator's fault."""
    a = [repeat(tmp_path, seed, "a") for seed in range(3)]
    b = [repeat(tmp_path, seed, "b", late=0.02 if seed < 12 else 0.0) for seed in range(10, 14)]
    assert [run.validity.valid for run in b] == [False, False, True, True]
    values = [run.summary.metrics["from_due_p50"].center for run in b[2:]]
    mean = format_seconds(mean_of_runs("from_due_p50", values).center)
    title = "latency from due, p50"
    sides = sides_of([*a, *b])
    assert dict(overview_rows(sides))[title][1].value == mean
    assert row(repeats_views(b)[0], title)[1] == mean
    (pair,) = pair_views(sides)
    assert [entry.after.value for entry in pair.rows if entry.before.label == title] == [mean]
    assert pair.sentences[-1] == "2 of 4 repeats of B are INVALID and left out."
    assert pair.state == ""
    found = compare(a, b)
    assert sum("it is left out" in warning for warning in found.warnings) == 2
    assert len(found.after) == 4
    assert f"note: {text.MEANS}" in comparison_text(found)
    assert side_estimate(METRICS["from_due_p50"], b).n == 2


def test_a_side_without_a_valid_run_is_shown_and_decides_nothing(tmp_path: Path) -> None:
    a = [repeat(tmp_path, seed, "a") for seed in range(2)]
    b = [repeat(tmp_path, seed, "b", late=0.02) for seed in range(10, 12)]
    (pair,) = pair_views(sides_of([*a, *b]))
    assert pair.sentences[0] == "B is INVALID: do not decide anything by this comparison."
    assert all(
        change.after.center is not None for change in compare(a, b).changes if change.metric.name == "throughput"
    )
    assert not any("left out" in line for line in (*pair.sentences, *pair.warnings))


def test_no_valid_run_has_no_figures(tmp_path: Path) -> None:
    (view,) = repeats_views([repeat(tmp_path, seed, late=0.02) for seed in range(2)])
    assert view.title.endswith(": 0 VALID, 2 INVALID")
    assert view.rows == []
    assert list(view.lines())[1] == "note: no repeat is VALID, so there is no mean"


def test_one_valid_run_has_no_interval_between_runs(tmp_path: Path) -> None:
    (view,) = repeats_views([repeat(tmp_path, 1), repeat(tmp_path, 2, late=0.02)])
    assert row(view, "latency from due, p50")[2] == ""
    assert "one VALID repeat: the variation between runs is not known; repeat at least 3 times" in view.notes


def test_shares_stay_between_none_and_all(tmp_path: Path) -> None:
    """A few failures in one of three runs: Student's interval alone would begin below zero."""
    (view,) = repeats_views([repeat(tmp_path, seed, failed=20 if seed == 2 else 0) for seed in range(3)])
    assert row(view, "failed requests")[2].startswith("[0 … ")


def test_groups_are_told_apart_and_single_runs_left_alone(tmp_path: Path) -> None:
    runs = [repeat(tmp_path, 1, "a"), repeat(tmp_path, 2, "b"), repeat(tmp_path, 3, "a"), repeat(tmp_path, 4, "")]
    assert [view.title.partition(" of")[0] for view in repeats_views(runs)] == ["2 repeats"]


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_the_report_of_repeats_has_them(tmp_path: Path, name: str) -> None:
    for seed in (1, 2, 3):
        repeat(tmp_path, seed)
    out = io.StringIO()
    assert main(["report", str(tmp_path)], out, io.StringIO()) == 0
    title = "3 repeats of rest, poisson:rate=50: 3 VALID, 0 INVALID"
    assert title in out.getvalue()
    page = (tmp_path / "report" / name).read_text(encoding="utf-8")
    assert title in page
    assert "mean of runs" in page


def under(root: Path, seed: int, arrivals: str, scenario: str) -> Analysis:
    """A run of one command with runs under several loads, or of several servers."""
    workload = replace(WORKLOAD, seed=seed, scenario=scenario)
    requests = simulate(arrivals, workload)
    return analyse(write_run(root, requests, arrivals, workload, slug=f"run-{seed}", group="one"))


def test_the_two_servers_of_a_gate_are_two_sides(tmp_path: Path) -> None:
    arms = enumerate(("baseline", "candidate"))
    runs = [under(tmp_path, seed, "poisson:rate=50", f"gate-{arm}") for seed, arm in arms]
    assert repeats_views(runs) == []
    assert [list(side.analyses) for side in sides_of(runs)] == [[runs[0]], [runs[1]]]
    out = io.StringIO()
    assert main(["report", str(tmp_path), "--json"], out, io.StringIO()) == 0
    assert document(out.getvalue(), "report")["reports"]["repeats"] == []
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "## B against A" in page
    assert "mean of runs" not in page


def test_the_loads_of_a_sweep_are_sides_of_their_own(tmp_path: Path) -> None:
    """Repeats are those of one load; the stages of a sweep are scenarios, and the pool of users may grow."""
    loads = [("poisson:rate=20", "knee"), ("poisson:rate=50", "knee"), ("poisson:rate=20", "confirm")]
    loads += [("poisson:rate=20", "knee")]
    runs = [under(tmp_path, seed, arrivals, f"capacity-{stage}") for seed, (arrivals, stage) in enumerate(loads)]
    larger = replace(WORKLOAD, seed=9, scenario="capacity-knee", users=128)
    runs.append(analyse(write_run(tmp_path, simulate(workload=larger), workload=larger, slug="pool", group="one")))
    found = [list(side.analyses) for side in sides_of(runs)]
    assert found == [[runs[0], runs[3]], [runs[1]], [runs[2]], [runs[4]]]
    (view,) = repeats_views(runs)
    assert view.title.startswith("2 repeats of capacity-knee, poisson:rate=20: ")
    out, err = io.StringIO(), io.StringIO()
    assert main(["report", str(tmp_path)], out, err) == 0, err.getvalue()
    assert out.getvalue().count(" repeats of ") == 1


def test_a_copy_of_a_run_is_on_no_side_and_the_report_says_so(tmp_path: Path) -> None:
    """Its side agreed with itself, and a comparison with it was refused after the reports of the runs."""
    runs = [repeat(tmp_path / "runs", 1, "a"), repeat(tmp_path / "runs", 2, "b")]
    copy = shutil.copytree(runs[0].run.path, tmp_path / "runs" / "copy")
    assert [list(side.analyses) for side in sides_of([*runs, analyse(open_run(copy))])] == [[runs[0]], [runs[1]]]
    err = io.StringIO()
    assert main(["report", str(tmp_path / "runs")], io.StringIO(), err) == 0, err.getvalue()
    for name in ("report.md", "report.html"):
        page = (tmp_path / "runs" / "report" / name).read_text(encoding="utf-8")
        assert "2 runs side by side" in page
        assert "1 copy of these runs was left out: a run agrees with itself." in page
    assert (copy / "report.html").is_file()
