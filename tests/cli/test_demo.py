"""What the demo says at its end; the demo itself is run by `tests/install/test_demo.py`."""

from pathlib import Path

import pytest

from bench.analysis.run import analyse
from bench.cli.demo import INVALID_LINE, Timing, in_short, timing_values
from bench.cli.report import ReportsValue, ReportValue
from bench.cli.verify import DifferenceValue, VerificationValue
from bench.report.json_values import run_value
from bench.report.speed_plot import plot_speeds
from tests.support.synthetic_runs import simulate, write_run

WORST = DifferenceValue(protocol="rest", signature="score", batch_size=1, difference=6.7e-6, sentence=1, word="a")
RIGHT = VerificationValue(
    verdict="PASS", tolerance=1e-4, sentences=1, words=1, reference="model", largest=WORST, ways=[WORST]
)
RACE = timing_values([Timing("Estimator", (2.0,) * 9), Timing("REST", (0.02,) * 9), Timing("gRPC", (0.01,) * 9)])


@pytest.mark.parametrize("cpu", [0.1, 0.99])
def test_the_end_says_what_was_shown_and_what_invalid_means(tmp_path: Path, cpu: float) -> None:
    run = write_run(tmp_path, simulate(), client={"cpu": cpu})
    report = ReportValue(run=run_value(analyse(run)), folder=str(run.path), plots=[])
    text = in_short(RIGHT, RACE, ReportsValue(runs=[report], repeats=[], side_by_side=str(tmp_path / "report")))
    assert "up to 7e-06 in log p" in text
    assert "REST is 100 times as fast as the Estimator" in text
    assert "gRPC is 200 times as fast as the Estimator" in text
    assert (INVALID_LINE in text) == (cpu > 0.9)
    assert f"open {tmp_path / 'report' / 'report.html'}" in text


def test_the_race_has_a_plot(tmp_path: Path) -> None:
    plot_speeds(tmp_path / "race.png", ["a", "b"], [0.5, 0.002], [0.7, 0.004], "one call")
    assert (tmp_path / "race.png").read_bytes().startswith(b"\x89PNG")
