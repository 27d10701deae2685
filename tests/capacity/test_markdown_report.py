"""The Markdown of steps and of compared sweeps."""

import numpy as np
import pytest

from bench.capacity.measurements.measured_step import Stage, rates_of
from bench.capacity.plan.compare_sweeps import differences
from bench.capacity.queue.latency_table import ParameterSet
from bench.capacity.queue.queue_model import QueueModel
from bench.capacity.report.markdown_report import interrupted_markdown, overhead_text, sweeps_markdown
from bench.capacity.report.text_report import price
from tests.support.measurements import measurement
from tests.support.plans import compared, plan_row, planned


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


@pytest.mark.parametrize(
    ("overhead", "text"),
    [(8.62e-9, "below 50 µs, which the fit cannot tell from none"), (0.0, "below 50 µs"), (0.0007, "700 µs")],
)
def test_an_overhead_below_the_error_of_the_fit_is_no_figure(overhead: float, text: str) -> None:
    found = ParameterSet(QueueModel.independent(1, overhead), np.full(10, 0.01))
    assert overhead_text(found).startswith(text)


def test_the_highest_measured_rate_is_none_at_the_load_generator_s_limit() -> None:
    runs = [measurement(Stage.KNEE, rate=50.0), measurement(Stage.KNEE, rate=80.0, failed=("event-loop lag",))]
    assert (rates_of(runs), rates_of(runs[1:])) == ([50.0], [80.0])


def test_labels_of_compared_sweeps_are_escaped() -> None:
    text = sweeps_markdown([compared("a|b <c>", planned(plan_row(4), (plan_row(4), plan_row(6))))], 100.0)
    assert "| a\\|b &lt;c> | p99=1000ms,wrong=0 | 80/s [75 … 84/s] | 4 | 50 % | fewest replicas |" in text
    assert "## a\\|b &lt;c>" in text
    assert text.count("| 100/s |") == 2


def test_prices_decide_between_sweeps_and_a_sweep_without_a_plan_is_named() -> None:
    sweeps = [
        compared("cheap", planned(plan_row(9, 1.0))),
        compared("small", planned(plan_row(4, 2.0))),
        compared("none", None),
    ]
    lines = sweeps_markdown(sweeps, 100.0).splitlines()
    assert [line.rsplit(" | ", 1)[-1] for line in lines if line.startswith(("| cheap", "| small", "| none"))] == [
        "lowest price |",
        " |",
        "no plan possible |",
    ]


def test_large_counts_have_separators_and_small_prices_are_not_0() -> None:
    sweeps = [compared("a", planned(plan_row(5_390_256, 4e-5), (plan_row(5_390_256, 4e-5),)))]
    text = sweeps_markdown(sweeps, 1e9)
    assert "| a | p99=1000ms,wrong=0 | 80/s [75 … 84/s] | 5,390,256 | 50 % | 0.00004 | lowest price |" in text
    assert "**100/s needs 5,390,256 replicas (5,390,255 and 1 spare, N+1), " in text
    assert "| 100/s | 5,390,255 | 5,390,256 | 50 % | 60 % | 20 % | 0.00004 | 0.0292 |" in text


def test_plans_of_different_objectives_and_requests_say_so() -> None:
    plan = planned(plan_row(4))
    same = [compared("a", plan), compared("b", plan)]
    assert differences(same) == ()
    objectives = "the plans are of different objectives; give --slo to plan all of them within one"
    assert differences([compared("a", plan, "p95=250ms"), compared("b", plan, "p95=80ms")]) == (objectives,)
    work = "rates count requests, whose numbers of sentences differ (a: 1, b: 16): the plans are not of the same work"
    different = [compared("a", plan, "p95=250ms"), compared("b", plan, "p95=80ms", 16)]
    assert differences(different) == (objectives, work)
    lines = sweeps_markdown(different, 100.0).splitlines()
    assert [f"- {objectives}" in lines, f"- {work}" in lines] == [True, True]
    assert "One server sustains 80/s [75 … 84/s] within p95=80ms,wrong=0 by the model." in lines
    assert "A request has 16 sentences, and rates count requests." in lines


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
