"""README's shown outputs have the labels, figures and notations of the present commands."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import demo
from bench.load.setup.run_outcome import describe_outcome
from tests.support.readme import README, shown, skeleton
from tests.support.synthetic_runs import WORKLOAD, simulate, write_run

DEMO = "1. Export"


def part(title: str) -> list[str]:
    """The lines of a part of the demo's output, its title left out."""
    lines = skeleton(shown(DEMO))
    start = next(index for index, line in enumerate(lines) if line.startswith(f"#. {title}") or title in line)
    rest = lines[start + 1 :]
    return rest[: rest.index("") if "" in rest else len(rest)]


def test_the_shown_load_runs_are_what_a_run_says_today(tmp_path: Path) -> None:
    workload = replace(WORKLOAD, duration=12.0, users=32)
    path = write_run(tmp_path, simulate("poisson:rate=20", workload), "poisson:rate=20", workload).path
    lines = skeleton("\n".join(describe_outcome(path, tmp_path).lines))
    found = part("Load")
    assert len(found) == 2 * len(lines)
    assert found == lines * 2


def test_the_shown_race_has_today_s_columns() -> None:
    names = ("Estimator (cold predict)", "in-process SavedModel", "REST", "gRPC")
    race = demo.timing_values([demo.Timing(name, (0.01, 0.02)) for name in names])
    assert part("Race") == skeleton(demo.race_table(race))


@pytest.mark.parametrize("wrong", [r"\d[eE]\+\d", r"\b1 users\b", r"\[\?\]", r"\d \(\d+ … \d+\)", r"\bnan\b"])
def test_no_figure_is_in_a_notation_of_the_past(wrong: str) -> None:
    assert not re.search(wrong, README.read_text(encoding="utf-8"))
