import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench.gate.history
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis, analyse
from bench.cli import main
from bench.core.errors import UsageError
from bench.gate.baseline_store import add_runs
from bench.gate.history import (
    ChangePoint,
    MetricSeries,
    change_points,
    exclusions,
    false_alarm_rate,
    history,
    runs_by_load,
)
from bench.gate.report.history_plot import history_text, plot_history
from tests.support.json_documents import document
from tests.support.synthetic_runs import ENVIRONMENT, WORKLOAD, fixed, simulate, write_run

ARRIVALS = "constant:rate=60"


def test_a_shift_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate((rng.normal(1.0, 0.03, 20), rng.normal(1.15, 0.03, 15)))
    ((index, p),) = change_points(values.tolist())
    assert index == 20
    assert p < 0.001


def test_a_figure_that_never_varies_has_no_change_point() -> None:
    assert change_points([0.0] * 20) == []


def test_the_rate_of_false_alarms_is_measured_and_grows_with_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nominal 0.1 %; on 200 values about one series in ten has a change point where nothing changed."""
    monkeypatch.setattr(bench.gate.history, "SIMULATED", 400)
    short, long = false_alarm_rate(20), false_alarm_rate(200)
    assert short < 0.05
    assert 0.05 < long < 0.25


def stored(root: Path, seconds: float, index: int) -> Analysis:
    workload = replace(WORKLOAD, duration=8.0, warmup=1.0, seed=index)
    requests = simulate(ARRIVALS, workload, fixed(seconds))
    started = f"2026-01-{index + 1:02d}T12:00:00.000000Z"
    return analyse(write_run(root, requests, ARRIVALS, workload, slug=f"day-{index}", started=started))


def test_stored_runs_to_series_text_and_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    levels = [0.004] * 7 + [0.006] * 7
    runs = [stored(tmp_path / "runs", level * rng.normal(1, 0.01), index) for index, level in enumerate(levels)]
    series = history(runs[::-1])
    by_name = {entry.metric.name: entry for entry in series}
    (point,) = by_name["from_due_p50"].points
    assert point.index == 7
    assert point.change == pytest.approx(0.5, abs=0.05)
    assert point.worse is True
    assert [level[:2] for level in by_name["from_due_p50"].levels] == [(0, 7), (7, 14)]
    text = history_text(series)
    assert f"from {runs[7].run.name} on (worse" in text
    assert "by chance" in text
    plot_history(series, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")


def test_too_few_runs_are_refused(tmp_path: Path) -> None:
    runs = [stored(tmp_path, 0.004, index) for index in range(3)]
    with pytest.raises(UsageError, match="needs 6 runs under one load that are VALID or in which only the server"):
        history(runs)


def under(root: Path, index: int, change: dict[str, Any], environment: dict[str, Any], workers: int) -> Analysis:
    """A run under another load or on another machine; each has a length of its own."""
    workload = replace(WORKLOAD, duration=8.0 + index % 3, warmup=1.0, seed=index, **change)
    requests = simulate(ARRIVALS, workload, fixed(0.004))
    started = f"2026-01-{index + 1:02d}T12:00:00.000000Z"
    run = write_run(
        root,
        requests,
        ARRIVALS,
        workload,
        workers,
        slug=f"day-{index}",
        started=started,
        environment=replace(ENVIRONMENT, **environment),
    )
    return analyse(run)


@pytest.mark.parametrize(
    ("change", "environment", "workers", "label"),
    [
        ({"transport": "grpcio"}, {}, 1, "workload.transport grpcio"),
        ({"padded": True}, {}, 1, "workload.padded True"),
        ({"compressed": True}, {}, 1, "workload.compressed True"),
        ({"sentences_digest": "sha256:9"}, {}, 1, "workload.sentences_digest sha256:9"),
        ({}, {"cores": 64, "cores_allowed": 64}, 1, "environment.cores 64, environment.cores_allowed 64"),
        ({}, {"host": "bench-2", "boot_id": "2"}, 1, "environment.host bench-2"),
        ({}, {}, 2, "workers 2"),
    ],
)
def test_runs_that_a_gate_does_not_compare_are_series_of_their_own(
    tmp_path: Path, change: dict[str, Any], environment: dict[str, Any], workers: int, label: str
) -> None:
    runs = [under(tmp_path, index, {}, {}, 1) for index in range(2)]
    runs += [under(tmp_path, index, change, environment, workers) for index in range(2, 5)]
    found = runs_by_load(runs)
    assert [len(own) for own in found.values()] == [2, 3]
    assert list(found)[1].endswith(label)
    assert exclusions(runs)[runs[4].run.name] == f"3 runs of 6 under its load: {list(found)[1]}"


def test_another_model_is_in_the_series(tmp_path: Path) -> None:
    runs = [under(tmp_path, 0, {}, {}, 1), under(tmp_path, 1, {"model_digest": "2", "sentences_digest": "3"}, {}, 1)]
    ((label, found),) = runs_by_load(runs).items()
    assert (len(found), "digest" in label) == (2, False)


def test_runs_that_are_left_out_are_named(tmp_path: Path) -> None:
    runs = [stored(tmp_path, 0.004, index) for index in range(6)]
    workload = replace(WORKLOAD, duration=8.0, warmup=1.0, seed=9)
    requests = simulate(ARRIVALS, workload, fixed(0.004))
    requests.sent += 0.2
    requests.done += 0.2
    late = analyse(write_run(tmp_path, requests, ARRIVALS, workload, slug="late"))
    assert not late.validity.valid
    found = exclusions([*runs, late])
    assert list(found) == [late.run.name]
    assert found[late.run.name].startswith("INVALID: 1 % of the requests were sent 200 ms or more after they were due")
    out = io.StringIO()
    assert main(["gate", "history", str(tmp_path)], out, io.StringIO()) == 0
    assert f"{late.run.name}: INVALID: 1 % of the requests" in out.getvalue()


def test_a_server_that_falls_behind_is_in_the_series(tmp_path: Path) -> None:
    slow = stored(tmp_path, 0.025, 7)
    assert slow.validity.overloaded
    assert next(iter(runs_by_load([stored(tmp_path, 0.004, 0), slow]).values()))[1] is slow


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("error_share", 0.0004, "+0.040 points"),
        ("error_share", 0.0312, "+3.1 points"),
        ("from_due_p50", 0.313, "+31.3 %"),
        ("from_due_p50", -0.0004, "-0.040 %"),
    ],
)
def test_a_change_point_is_shown_with_two_digits(name: str, change: float, text: str) -> None:
    point = ChangePoint(1, "run", change, 1e-9, True)
    series = MetricSeries("load", METRICS[name], ("a", "b"), ("", ""), (1.0, 2.0), (point,), 0.001, 0.01)
    assert f"    {text} from run on (worse, p = 1e-09)" in history_text([series])


def test_a_run_that_was_added_again_counts_once(tmp_path: Path) -> None:
    """A folder that grows from night to night, of which the store has every state."""
    runs, store = tmp_path / "runs", tmp_path / "store"
    names = []
    for night in range(3):
        names += [stored(runs, 0.004, 2 * night + index).run.name for index in range(2)]
        add_runs(store, [runs], "main", datetime(2026, 1, 31, night, tzinfo=UTC))
        out, err = io.StringIO(), io.StringIO()
        code = main(["gate", "history", str(store), "--json"], out, err)
        if night < 2:
            assert code == 2, "2 or 4 runs were taken for 6 or more"
            assert f"no load has more than {len(names)}; add runs" in err.getvalue()
    found = document(out.getvalue(), "gate history")
    assert found["copies"] == 2 + 4
    assert found["series"]
    assert all(series["runs"] == names for series in found["series"])
    out = io.StringIO()
    assert main(["gate", "history", str(store)], out, io.StringIO()) == 0
    assert "6 runs left out: the same as another" in out.getvalue()
