"""Comparisons of sides whose difference is known."""

import io
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import api
from bench.analysis.compare import RUN_NOISE, Change, Comparison, Difference, compare, side_estimate
from bench.analysis.metrics import METRICS
from bench.analysis.repeats import repeats_of
from bench.analysis.run import Analysis, analyse
from bench.cli import main
from bench.core.errors import InconclusiveError, UsageError
from bench.report.comparison import comparison_line, comparison_text
from bench.report.runs.sides import Side, pair_views, sides_of
from bench.results.records import Outcome
from bench.results.run_reader import open_run
from bench.stats.estimate import Estimate
from tests.support.synthetic_runs import ENVIRONMENT, WORKLOAD, Requests, exponential, simulate, write_run

LONG = replace(WORKLOAD, duration=60.0)


def side(root: Path, mean: float, seeds: Sequence[int], noise: float = 0.0) -> list[Analysis]:
    """Runs of a server whose service times have this mean, changed from run to run by `noise`."""
    found = []
    for seed in seeds:
        workload = replace(LONG, seed=seed)
        factor = float(np.exp(np.random.default_rng(seed).normal(0, noise)))
        requests = simulate("poisson:rate=20", workload, exponential(mean * factor))
        found.append(analyse(write_run(root, requests, "poisson:rate=20", workload)))
    return found


def change_of(comparison: Comparison, name: str) -> Change:
    return next(change for change in comparison.changes if change.metric.name == name)


def test_a_slower_server_is_found_from_repeats(tmp_path: Path) -> None:
    found = compare(side(tmp_path, 0.01, range(5), noise=0.03), side(tmp_path, 0.013, range(5, 10), noise=0.03))
    change = change_of(found, "from_due_p50")
    assert change.verdict == "worse"
    assert change.change.center == pytest.approx(1.38, rel=0.15)
    assert change_of(found, "throughput").verdict == "~"
    assert not any("single run" in warning for warning in found.warnings)


def test_equal_servers_do_not_differ(tmp_path: Path) -> None:
    found = compare(side(tmp_path, 0.01, range(5), noise=0.05), side(tmp_path, 0.01, range(5, 10), noise=0.05))
    for name in ("throughput", "from_due_p50", "from_due_p95", "error_share"):
        assert change_of(found, name).verdict == "~", name


def test_no_failure_in_any_run_bounds_the_proportion(tmp_path: Path) -> None:
    """5 runs of about 1,200 requests each: -ln(0.025) / 6,000."""
    found = compare(side(tmp_path, 0.01, range(5)), side(tmp_path, 0.01, range(5, 10)))
    change = change_of(found, "error_share")
    for own in (change.before, change.after):
        assert (own.center, own.lo) == (0.0, 0.0)
        assert own.hi == pytest.approx(3.69 / 6_000, rel=0.1)
    assert change.change.lo is not None
    assert change.change.lo < 0 < change.change.hi


def test_other_shares_are_not_proportions_of_requests(tmp_path: Path) -> None:
    """A GPU that was equally busy in all runs: its samples are not trials."""
    runs = []
    for entry in side(tmp_path, 0.01, range(2)):
        metrics = {**entry.summary.metrics, "server_gpu": Estimate("server_gpu", 0.5, None, None, 0.95, 60)}
        runs.append(replace(entry, summary=replace(entry.summary, metrics=metrics)))
    found = side_estimate(METRICS["server_gpu"], runs)
    assert (found.center, found.lo, found.hi) == (0.5, 0.5, 0.5)


def test_single_runs_carry_the_assumed_noise_and_say_so(tmp_path: Path) -> None:
    found = compare(side(tmp_path, 0.01, [1]), side(tmp_path, 0.01, [2]))
    assert any("one run on a side" in warning for warning in found.warnings)
    change = change_of(found, "throughput").change
    assert change.lo is not None
    assert change.hi is not None
    assert np.log(change.hi / change.lo) > 2 * 1.96 * RUN_NOISE
    assert change_of(found, "from_due_p50").verdict == "~"


def test_runs_under_other_loads_are_refused_by_name_unless_asked(tmp_path: Path) -> None:
    before = side(tmp_path, 0.01, [1])
    after = [analyse(write_run(tmp_path, simulate("poisson:rate=40", LONG), "poisson:rate=40", LONG))]
    with pytest.raises(InconclusiveError, match="arrivals: poisson:rate=20 against poisson:rate=40"):
        compare(before, after)
    found = compare(before, after, anyway=True)
    assert "different loads: arrivals: poisson:rate=20 against poisson:rate=40" in found.warnings


def test_a_trace_is_the_same_load_wherever_its_file_is(tmp_path: Path) -> None:
    found = []
    for name, last in (("a", ""), ("b", ""), ("c", "9\n")):
        path = tmp_path / f"{name}.txt"
        path.write_text("".join(f"{index / 20}\n" for index in range(100)) + last)
        workload = replace(WORKLOAD, duration=10.0, warmup=0.0)
        arrivals = f"trace:{path}"
        found.append(analyse(write_run(tmp_path, simulate(arrivals, workload), arrivals, workload)))
    assert compare(found[:1], found[1:2]).differences == ()
    with pytest.raises(InconclusiveError, match="arrivals_digest"):
        compare(found[:1], found[2:])


def test_other_machines_and_other_questions_are_named(tmp_path: Path) -> None:
    before = side(tmp_path, 0.01, [1])
    rest = replace(LONG, protocol="rest", transport="requests")
    machine = replace(ENVIRONMENT, cpu_model="Other CPU", host="bench-2", boot_id="x")
    requests = simulate("poisson:rate=20", rest)
    after = [analyse(write_run(tmp_path, requests, "poisson:rate=20", rest, environment=machine))]
    found = compare(before, after)
    names = {entry.name for entry in found.differences}
    assert names == {"workload.protocol", "workload.transport", "environment.cpu_model", "environment.host"}
    assert any("Example CPU against Other CPU" in warning for warning in found.warnings)


def test_the_best_runs_of_a_side_that_falls_behind_are_no_verdict(tmp_path: Path) -> None:
    """A gate counts such runs; a comparison by the one VALID run would hide them."""

    def run(name: str, service: float, seed: int) -> Analysis:
        workload = replace(WORKLOAD, seed=seed, duration=15.0, warmup=1.0, users=10_000)
        requests = simulate("poisson:rate=50", workload, exponential(service))
        return analyse(write_run(tmp_path, requests, "poisson:rate=50", workload, slug=name, group=name))

    a = [run("a", 0.01, seed) for seed in range(5)]
    b = [run("b", 0.005 if seed == 10 else 0.04, seed) for seed in range(10, 15)]
    assert [entry.validity.overloaded for entry in b] == [False, True, True, True, True]
    for sides in ((a, b), (b, a)):
        found = compare(*sides)
        assert {change.verdict for change in found.changes} == {"?"}
        assert any("fell behind the rate in 4 of 5 runs, which are left out" in line for line in found.warnings)
        (pair,) = pair_views(sides_of([*sides[0], *sides[1]]))
        assert (pair.state, "do not decide anything" in pair.sentences[0]) == ("", True)
        assert not any("faster" in line or "slower" in line for line in pair.sentences)


def test_nothing_is_better_or_worse_than_runs_that_are_all_invalid(tmp_path: Path) -> None:
    """Three times as slow, and sent late by the load generator: what made them INVALID may have made them slow."""
    requests = simulate("poisson:rate=20", LONG, exponential(0.03))
    requests.sent += 0.05
    requests.done += 0.05
    late = [analyse(write_run(tmp_path, requests, "poisson:rate=20", LONG))]
    requests.done += 0.05
    later = [analyse(write_run(tmp_path, requests, "poisson:rate=20", LONG))]
    good = side(tmp_path, 0.01, [1])
    for sides in ((good, late), (late, good), (later, late)):
        found = compare(*sides)
        assert {change.verdict for change in found.changes} == {"?"}
        why = f"the side of {late[0].run.name} has no VALID run, so no change has an interval"
        for shown in (found.warnings[-1], comparison_text(found), comparison_line(found)):
            assert why in shown
        (pair,) = pair_views([Side("A", "a", sides[0]), Side("B", "b", sides[1])])
        assert (pair.state, "INVALID: do not decide anything" in pair.sentences[0]) == ("", True)
        assert not re.search("better|worse|faster|slower|significant", " ".join(pair.sentences))


def test_runs_of_a_side_must_be_repeats(tmp_path: Path) -> None:
    mixed = side(tmp_path, 0.01, [1])
    other = replace(LONG, users=8)
    mixed.append(analyse(write_run(tmp_path, simulate("poisson:rate=20", other), "poisson:rate=20", other)))
    with pytest.raises(UsageError, match=r"not repeats of each other \(workload.users: 64 against 8\)"):
        compare(mixed, mixed[:1])
    with pytest.raises(UsageError, match="no run"):
        compare([], mixed[:1])


def test_a_run_that_is_on_a_side_twice_is_refused_copies_included(tmp_path: Path) -> None:
    """It agrees with itself: the change had an interval of no width."""
    own, other = side(tmp_path, 0.01, [1, 2])
    copy = analyse(open_run(shutil.copytree(own.run.path, tmp_path / "copy")))
    with pytest.raises(UsageError, match="copy is twice on one side; give each run once"):
        compare([own, copy], [other])
    for call in (api.read_runs, lambda *paths: api.compare(list(paths), other.run.path)):
        with pytest.raises(UsageError, match="is given twice; give each run once"):
            call(own.run.path, tmp_path / "copy" / ".." / own.run.path.name)


def test_a_run_is_not_compared_with_itself_or_a_copy(tmp_path: Path) -> None:
    runs = side(tmp_path / "runs", 0.01, [1, 2])
    shutil.copytree(runs[0].run.path, tmp_path / "copy")
    paths = [str(path) for path in (tmp_path / "runs", tmp_path / "copy", runs[0].run.path)]
    with pytest.raises(UsageError, match=r"1 run on both sides \(copy\): the first side and the second must be"):
        api.compare(*paths[:2])
    for words, says in (
        (["compare", paths[0], paths[0]], "is given twice; give each run once"),
        (["report", paths[2], paths[2]], "is given twice; give each run once"),
        (["compare", *paths[:2]], f"1 run on both sides (copy): {paths[0]} and {paths[1]} must be different runs"),
    ):
        err = io.StringIO()
        assert main(words, io.StringIO(), err) == 2
        assert says in err.getvalue()


def test_notes_name_their_metrics(tmp_path: Path) -> None:
    found = compare(side(tmp_path, 0.01, [1]), side(tmp_path, 0.01, [2]))
    titles = [change.metric.title for change in found.changes]
    for count, named in ((2, "; ".join(titles[:2])), (7, "; ".join([*titles[:4], "and 3 others of the table"]))):
        changes = [
            replace(change, change=replace(change.change, warnings=("no ratio",) if index < count else ()))
            for index, change in enumerate(found.changes)
        ]
        assert f"note: no ratio (in: {named})\n" in comparison_text(replace(found, changes=tuple(changes)))


def test_a_copy_is_not_a_repeat(tmp_path: Path) -> None:
    runs = []
    for seed in (1, 2):
        workload = replace(WORKLOAD, seed=seed)
        runs.append(write_run(tmp_path, simulate(workload=workload), workload=workload, group="g", repeat=seed))
    analyses = [analyse(run) for run in runs]
    copy = analyse(open_run(shutil.copytree(runs[0].path, tmp_path / "copy")))
    assert repeats_of([analyses[0], copy]) == []
    (found,) = repeats_of([analyses[0], copy, analyses[1]])
    assert found.runs == analyses


def failing(requests: Requests) -> None:
    requests.outcome[:] = [Outcome.TIMEOUT] * requests.due.size


def one_in_ten(requests: Requests) -> None:
    for index in range(0, requests.due.size, 10):
        requests.outcome[index] = Outcome.WRONG_ANSWER


@pytest.mark.parametrize(
    ("spoil", "metric", "verdict"),
    [(failing, "from_due_p50", "?"), (failing, "error_share", "?"), (one_in_ten, "wrong_share", "worse")],
)
def test_no_figure_is_no_change_and_failures_are(
    tmp_path: Path, spoil: Callable[[Requests], None], metric: str, verdict: str
) -> None:
    requests = simulate("poisson:rate=20", LONG)
    spoil(requests)
    after = [analyse(write_run(tmp_path, requests, "poisson:rate=20", LONG))]
    found = compare(side(tmp_path, 0.01, [1]), after)
    assert change_of(found, metric).verdict == verdict
    if spoil is failing:
        assert any("is INVALID" in warning for warning in found.warnings)
        assert {change.verdict for change in found.changes} == {"?"}


def test_the_text_has_a_line_a_figure_and_all_warnings(tmp_path: Path) -> None:
    found = compare(side(tmp_path, 0.01, [1]), side(tmp_path, 0.02, [2]))
    text = comparison_text(found)
    assert text.startswith("A: 20260131T120000Z-synthetic\nB: 20260131T120000Z-synthetic-2\n")
    assert all(warning in text for warning in found.warnings)
    (line,) = [line for line in text.splitlines() if line.startswith("latency from due, p50")]
    assert re.search(r"worse +\+[0-9.]+ %$", line)
    assert "%" in line
    assert "differs: workload.seed: 1 against 2" in text


def test_a_difference_of_memory_has_its_unit() -> None:
    shown = str(Difference("environment.memory", 25_276_510_208, 25_276_063_744))
    assert shown == "environment.memory: 25,276,510,208 B against 25,276,063,744 B"
    assert str(Difference("environment.memory_limit", None, 8_000_000)).endswith(": nothing against 8,000,000 B")
    assert str(Difference("environment.cores", 4, 8)) == "environment.cores: 4 against 8"
