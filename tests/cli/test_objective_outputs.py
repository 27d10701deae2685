"""The verdicts on objectives are the same wherever they stand: in a run, in its outcome and in all outputs."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest

from bench.analysis.run import analyse
from bench.cli import main
from bench.core.errors import ExitCode
from bench.load.setup.run_outcome import RunOutcome, describe_outcome
from bench.objectives.grammar import parse_objectives
from bench.report.json_values import run_value
from bench.report.objectives import write_verdicts
from bench.results.records import Outcome
from bench.results.run_reader import Run, open_run
from tests.analysis.test_objectives import about_ten_milliseconds
from tests.support.synthetic_runs import WORKLOAD, simulate, write_run

# Of each verdict one; every answer takes 10.1 to 10.2 ms.
SLO = {"p50<=10.5ms": "PASS", "throughput>=60/s": "FAIL", "p99.9<=10.5ms": "CANNOT TELL", "wrong=0": "PASS"}


@dataclass(frozen=True)
class Outputs:
    """What one run left.

    Args:
        outcome: at its end.
        folder: of the run.
        document: of `bertbench report --json`.
        files: JUnit XML, Markdown and the report's own Markdown.
    """

    outcome: RunOutcome
    folder: Path
    document: dict[str, Any]
    files: tuple[str, str, str]

    def objectives(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["reports"]["runs"][0]["run"]["objectives"]
        return found


def stored(root: Path, slo: str, late: float = 0.0) -> Run:
    """A run; its load generator sends `late` seconds late."""
    requests = simulate(workload=WORKLOAD, service=about_ten_milliseconds, servers=64)
    requests.sent += late
    requests.done += late
    return write_run(root, requests, workload=WORKLOAD, objectives=parse_objectives(slo))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    root = tmp_path_factory.mktemp("mixed")
    run = stored(root / "runs", ",".join(SLO))
    outcome = describe_outcome(run.path, Path("some-model"))
    files = root / "objectives.xml", root / "objectives.md", root / "report" / "report.md"
    out, err = io.StringIO(), io.StringIO()
    words = ["report", run.path, "--out", files[2].parent, "--junit", files[0], "--markdown", files[1], "--json"]
    assert main(list(map(str, words)), out, err) == 0, err.getvalue()
    junit, markdown, report = (path.read_text() for path in files)
    return Outputs(outcome, run.path, orjson.loads(out.getvalue()), (junit, markdown, report))


def test_run_json_and_json_agree(mixed: Outputs) -> None:
    found = open_run(mixed.folder).file.verdicts
    assert found is not None
    assert found == mixed.outcome.objectives
    assert {str(entry.objective): str(entry.verdict) for entry in found.results} == SLO
    shown = mixed.objectives()
    assert {entry["objective"]: entry["verdict"] for entry in shown["results"]} == SLO
    assert shown["verdict"] == str(found.verdict) == "FAIL"
    for entry, value in zip(found.results, shown["results"], strict=True):
        ends = (entry.estimate.center, entry.estimate.lo, entry.estimate.hi, entry.estimate.confidence)
        assert tuple(value["value"][name] for name in ("center", "lo", "hi", "confidence")) == ends


def test_junit_agrees(mixed: Outputs) -> None:
    (suite,) = ElementTree.fromstring(mixed.files[0])
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["6", "1", "1"]
    kinds = {"PASS": [], "FAIL": ["failure"], "CANNOT TELL": ["error"]}
    found = {case.get("name"): [child.tag for child in case if child.tag != "system-out"] for case in suite}
    name = mixed.folder.name
    expected = {f"{name}: {text}": kinds[verdict] for text, verdict in SLO.items()}
    assert found == {f"{name}: validity": [], f"{name}: requests": []} | expected


@pytest.mark.parametrize("index", [1, 2], ids=["--markdown", "report.md"])
def test_markdown_agrees(mixed: Outputs, index: int) -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in mixed.files[index].splitlines() if "|" in line]
    found = {row[0].replace("&lt;", "<").replace("&gt;", ">"): row[1:3] for row in rows}
    assert mixed.outcome.objectives is not None
    for entry in mixed.outcome.objectives.results:
        assert found[str(entry.objective)] == [str(entry.verdict), entry.figure]
    assert "**Objectives: FAIL" in mixed.files[index]


def test_the_outcome_agrees(mixed: Outputs) -> None:
    assert mixed.outcome.exit_code is ExitCode.REGRESSION
    assert mixed.outcome.error.startswith("FAIL: throughput>=60/s: ")
    assert "objectives: FAIL" in mixed.outcome.lines


def test_an_invalid_run_passes_nowhere(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs", "p50<=1s,wrong=0", late=0.2)
    outcome = describe_outcome(run.path, Path("some-model"))
    assert (outcome.exit_code, outcome.error) == (ExitCode.INCONCLUSIVE, "CANNOT TELL: the run is INVALID")
    files = tmp_path / "objectives.xml", tmp_path / "objectives.md"
    write_verdicts([analyse(run)], *files)
    (suite,) = ElementTree.fromstring(files[0].read_text())
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["4", "0", "3"]
    shown = run_value(analyse(run)).objectives
    assert shown is not None
    assert {shown.verdict, *(entry.verdict for entry in shown.results)} == {"CANNOT TELL"}
    assert all("PASS" not in text for text in (*outcome.lines, *(file.read_text() for file in files)))


WRONG, LATE, REFUSED = Outcome.WRONG_ANSWER, Outcome.TIMEOUT, Outcome.REJECTED


@pytest.mark.parametrize(
    ("slo", "spoilt", "code", "kind", "text"),
    [
        ("p50<=2s", {WRONG: range(500, 503)}, 1, "failure", "FAIL: 3 answers differ from the Estimator's"),
        ("", {WRONG: range(1)}, 1, "failure", "FAIL: 1 answer differs from the Estimator's"),
        ("p50<=2s,wrong=0", {LATE: range(200, 220)}, 1, "failure", "FAIL: 20 failed requests"),
        ("", {REFUSED: range(100_000)}, 4, "error", "FAIL: no request was successful"),
        ("errors<=20%", {LATE: range(200, 220)}, 0, None, None),
        ("errors<=20%,wrong<=10%", {WRONG: range(500, 503)}, 0, None, None),
    ],
    ids=["wrong answers", "warm-up", "failures", "no success", "limited failures", "limited wrong answers"],
)
def test_requests_that_fail_a_run_fail_in_the_files(
    slo: str, spoilt: dict[Outcome, range], code: int, kind: str | None, text: str | None, tmp_path: Path
) -> None:
    """`bertbench report` ends with 0, so the files alone say it to the CI system of plain Locust."""
    requests = simulate(workload=WORKLOAD, service=about_ten_milliseconds, servers=64)
    for outcome, places in spoilt.items():
        for index in places[: len(requests.outcome)]:
            requests.outcome[index] = outcome
    objectives = parse_objectives(slo) if slo else ()
    run = write_run(tmp_path / "runs", requests, workload=WORKLOAD, objectives=objectives)
    ended = describe_outcome(run.path, Path("some-model"))
    assert ended.exit_code == code, ended.error
    files = tmp_path / "objectives.xml", tmp_path / "objectives.md"
    words = ["report", run.path, "--out", tmp_path / "report", "--junit", files[0], "--markdown", files[1]]
    assert main(list(map(str, words)), io.StringIO(), io.StringIO()) == 0
    (suite,) = ElementTree.fromstring(files[0].read_text())
    (case,) = [case for case in suite if case.get("name") == f"{run.name}: requests"]
    found = {(child.tag, child.get("message")) for child in case}
    lines = [line for line in files[1].read_text().splitlines() if line.startswith("**Requests: ")]
    if kind is None or text is None:
        assert (found, lines) == (set(), [])
    else:
        assert found == {(kind, ended.error)}
        (line,) = lines
        assert line.startswith(f"**Requests: {text}")
