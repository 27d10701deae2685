"""The outputs that README and the guide show have the labels, figures and notations of the present commands."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.cli import demo
from bench.load.setup.run_outcome import describe_outcome
from bench.objectives.grammar import parse_objectives
from bench.objectives.text import objective_lines
from bench.objectives.verdicts import Counted, ObjectivesResult, decide
from bench.results.overload import Overload
from bench.stats.estimate import Estimate
from tests.support.pages import GUIDE, ROOT, blocks
from tests.support.readme import README, shown, skeleton
from tests.support.synthetic_runs import WORKLOAD, simulate, write_run

DEMO = "1. Export"
OBJECTIVES = ROOT / "docs/guide/objectives.md"


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


def test_the_shown_verdicts_are_what_a_run_says_today() -> None:
    """With the figures of the page, so that every word and unit beside them is the code's."""
    p99, errors, wrong = parse_objectives("p99<=250ms,errors<=1%,wrong=0")
    results = [
        decide(p99, Estimate("p99", 0.241, 0.228, 0.262, 0.95, 1800), 60.0),
        decide(errors, Estimate("errors", 0.001, 0.0001, 0.004, 0.95, 1800), 60.0),
        decide(wrong, Estimate("wrong", 0.0, 0.0, 0.002, 0.95, 1800), 60.0, Counted(0, 1800, "checked answer")),
    ]
    lines = skeleton("\n".join(objective_lines(ObjectivesResult.of(results))))
    found = skeleton(shown("objectives: ", OBJECTIVES))
    assert len(found) == len(lines) == 4
    for line, page in zip(lines, found, strict=True):
        assert line == page if not page.endswith("...") else line.startswith(page.removesuffix("..."))


def test_the_shown_overload_is_what_a_run_says_today() -> None:
    overload = Overload(time=11.0, since=2.0, backlog=92, asked=110.0, carried=99.8, carried_lo=97.1, carried_hi=103.0)
    assert shown("overloaded: ", OBJECTIVES) == f"{overload}\n"


@pytest.mark.parametrize("page", [page for page in GUIDE if blocks(page, "text")], ids=lambda page: page.stem)
def test_shown_durations_have_the_units_that_are_printed(page: Path) -> None:
    """Minutes are `m`, hours `h`, microseconds `µs`."""
    texts = [block.text for block in blocks(page, "text")]
    assert not [found for text in texts for found in re.findall(r"\d ?(?:min|sec|hrs?|hours?|us|msec)\b", text)]


@pytest.mark.parametrize("wrong", [r"\d[eE]\+\d", r"\b1 users\b", r"\[\?\]", r"\d \(\d+ … \d+\)", r"\bnan\b"])
def test_no_figure_is_in_a_notation_of_the_past(wrong: str) -> None:
    assert not re.search(wrong, README.read_text(encoding="utf-8"))
