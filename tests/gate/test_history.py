from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bench.gate.history
from bench.analysis.run import Analysis, analyse
from bench.core.errors import UsageError
from bench.gate.history import change_points, false_alarm_rate, history
from bench.gate.report.history_plot import history_text, plot_history
from tests.support.synthetic_runs import WORKLOAD, fixed, simulate, write_run

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
    with pytest.raises(UsageError, match="needs 6 VALID runs"):
        history(runs)
