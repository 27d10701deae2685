"""The Markdown of steps and of compared sweeps."""

from bench.capacity.measurements.measured_step import Stage
from bench.capacity.plan.compare_sweeps import ComparedSweep
from bench.capacity.plan.plan import PlanRow
from bench.capacity.report.markdown_report import interrupted_markdown, sweeps_markdown
from bench.stats.estimate import Estimate
from tests.support.measurements import measurement

SUSTAINED = Estimate("slo_rate", 80.0, 75.0, 84.0, 0.9, 100)


def row(replicas: int, price: float | None = None) -> PlanRow:
    return PlanRow(100.0, replicas - 1, replicas - 1, replicas, 0.5, 0.6, 0.2, price)


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
    text = sweeps_markdown([ComparedSweep("a|b <c>", SUSTAINED, row(4), (row(4), row(6)))], 100.0)
    assert "| a\\|b &lt;c> | 80/s [75 … 84/s] | 4 | 50 % | fewest replicas |" in text
    assert "## a\\|b &lt;c>" in text
    assert text.count("| 100/s |") == 2


def test_prices_decide_between_sweeps_and_a_sweep_without_a_plan_is_named() -> None:
    sweeps = [
        ComparedSweep("cheap", SUSTAINED, row(9, 1.0)),
        ComparedSweep("small", SUSTAINED, row(4, 2.0)),
        ComparedSweep("none", SUSTAINED, None),
    ]
    lines = sweeps_markdown(sweeps, 100.0).splitlines()
    assert [line.rsplit(" | ", 1)[-1] for line in lines if line.startswith(("| cheap", "| small", "| none"))] == [
        "lowest price |",
        " |",
        "no plan possible |",
    ]
