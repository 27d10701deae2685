"""The Markdown of steps and of compared sweeps."""

import pytest

from bench.capacity.measurements.measured_step import Stage
from bench.capacity.plan.compare_sweeps import ComparedSweep
from bench.capacity.report.markdown_report import interrupted_markdown, sweeps_markdown
from bench.capacity.report.text_report import price
from bench.stats.estimate import Estimate
from tests.support.measurements import measurement
from tests.support.plans import plan_row, planned

SUSTAINED = Estimate("slo_rate", 80.0, 75.0, 84.0, 0.9, 100)


def test_an_interrupted_sweep_lists_its_steps_and_invalid_runs() -> None:
    steps = [measurement(Stage.LADDER, users=1), measurement(Stage.KNEE, rate=50.0, failed=("backlog",))]
    lines = interrupted_markdown(steps, "interrupted by SIGTERM").splitlines()
    assert (
        "**INTERRUPTED: interrupted by SIGTERM after 2 steps. This is not a result; continue with --resume.**" in lines
    )
    assert [line.split(" | ")[0] for line in lines if line.startswith(("| ladder", "| knee"))] == [
        "| ladder",
        "| knee (INVALID)",
    ]
    assert "- `run`: backlog" in lines
    assert "## Steps" not in interrupted_markdown([], "interrupted")


def test_labels_of_compared_sweeps_are_escaped() -> None:
    text = sweeps_markdown(
        [ComparedSweep("a|b <c>", SUSTAINED, planned(plan_row(4), (plan_row(4), plan_row(6))))], 100.0
    )
    assert "| a\\|b &lt;c> | 80/s [75 … 84/s] | 4 | 50 % | fewest replicas |" in text
    assert "## a\\|b &lt;c>" in text
    assert text.count("| 100/s |") == 2


def test_prices_decide_between_sweeps_and_a_sweep_without_a_plan_is_named() -> None:
    sweeps = [
        ComparedSweep("cheap", SUSTAINED, planned(plan_row(9, 1.0))),
        ComparedSweep("small", SUSTAINED, planned(plan_row(4, 2.0))),
        ComparedSweep("none", SUSTAINED, None),
    ]
    lines = sweeps_markdown(sweeps, 100.0).splitlines()
    assert [line.rsplit(" | ", 1)[-1] for line in lines if line.startswith(("| cheap", "| small", "| none"))] == [
        "lowest price |",
        " |",
        "no plan possible |",
    ]


def test_large_counts_have_separators_and_small_prices_are_not_0() -> None:
    sweeps = [ComparedSweep("a", SUSTAINED, planned(plan_row(5_390_256, 4e-5), (plan_row(5_390_256, 4e-5),)))]
    text = sweeps_markdown(sweeps, 1e9)
    assert "| a | 80/s [75 … 84/s] | 5,390,256 | 50 % | 0.00004 | lowest price |" in text
    assert "**100/s needs 5,390,256 replicas (5,390,255 and 1 spare, N+1), " in text
    assert "| 100/s | 5,390,255 | 5,390,256 | 50 % | 60 % | 20 % | 0.00004 | 0.0292 |" in text


@pytest.mark.parametrize(
    ("value", "cents", "whole"),
    [
        (0.0, "0.00", "0.00"),
        (0.012, "0.012", "0.012"),
        (0.5, "0.50", "0.50"),
        (4.0, "4.00", "4.00"),
        (1460.4, "1,460.40", "1,460"),
    ],
)
def test_a_price(value: float, cents: str, whole: str) -> None:
    assert (price(value), price(value, whole=True)) == (cents, whole)
