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
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["5", "1", "1"]
    kinds = {"PASS": [], "FAIL": ["failure"], "CANNOT TELL": ["error"]}
    found = {case.get("name"): [child.tag for child in case if child.tag != "system-out"] for case in suite}
    name = mixed.folder.name
    assert found == {f"{name}: validity": []} | {f"{name}: {text}": kinds[verdict] for text, verdict in SLO.items()}


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
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["3", "0", "3"]
    shown = run_value(analyse(run)).objectives
    assert shown is not None
    assert {shown.verdict, *(entry.verdict for entry in shown.results)} == {"CANNOT TELL"}
    assert all("PASS" not in text for text in (*outcome.lines, *(file.read_text() for file in files)))
