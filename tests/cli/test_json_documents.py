"""Every command has a JSON document with a schema, and what it prints is valid by that."""

import argparse
import csv
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from bench.cli import COMMANDS, main
from bench.cli.dispatch import make_parser
from bench.cli.schemas import DOCUMENTS, file_of, read_schema
from bench.cli.schemas.__main__ import schema_of
from bench.results.records import Outcome
from tests.support.debian import installed
from tests.support.json_documents import document
from tests.support.synthetic_runs import WORKLOAD, exponential, simulate, write_run

pytestmark = pytest.mark.long(30)


def leaves(parser: argparse.ArgumentParser, words: str) -> Iterator[str]:
    """The command and its actions; the command itself, if it works without an action."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not any(action.required for action in actions):
        yield words
    for action in actions:
        for name, inner in action.choices.items():
            yield from leaves(inner, f"{words} {name}")


def commands() -> Iterator[str]:
    for command in COMMANDS:
        (found,) = (a for a in make_parser([command])._actions if isinstance(a, argparse._SubParsersAction))
        yield from leaves(found.choices[command], command)


@pytest.mark.parametrize("name", list(commands()))
def test_every_command_has_a_document(name: str) -> None:
    assert name in DOCUMENTS or f"{name} sweep" in DOCUMENTS


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schemas_are_those_of_the_types(name: str) -> None:
    """Else: python -m bench.cli.schemas"""
    assert read_schema(name) == schema_of(name)


def test_there_is_no_schema_of_the_past() -> None:
    assert {path.name for path in file_of("x").parent.glob("*.json")} == {file_of(name).name for name in DOCUMENTS}


def test_the_page_names_every_command_with_a_document() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/json-output.md").read_text(encoding="utf-8")
    rows = page.partition("## Each command")[2].partition("## In CI")[0]
    missing = [name for name in commands() if f"`{name}`" not in rows and f"`{name.split()[-1]}`" not in rows]
    assert not missing


def call(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main([str(word) for word in words], out, err), out.getvalue(), err.getvalue()


def repeats(root: Path, mean: float = 0.003, seed: int = 1, outcome: Outcome | None = None, count: int = 5) -> Path:
    """Runs under one load, repeats of each other."""
    for repeat in range(count):
        workload = replace(WORKLOAD, seed=seed + repeat, duration=15.0, warmup=1.0)
        requests = simulate("constant:rate=60", workload, exponential(mean))
        if outcome is not None:
            requests.outcome = [outcome] * requests.due.size
        started = f"2026-01-31T12:00:0{repeat}.000000Z"
        write_run(root, requests, "constant:rate=60", workload, slug=f"run-{repeat}", group=root.name, started=started)
    return root


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repeats(tmp_path_factory.mktemp("runs") / "quick")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repeats(tmp_path_factory.mktemp("runs") / "slow", 0.009, 20)


def test_report_has_the_values_of_run_json_and_of_the_report(quick: Path, tmp_path: Path) -> None:
    code, out, err = call("report", quick, "--out", tmp_path, "--json")
    found = document(out, "report")["reports"]
    assert (code, err, len(found["runs"])) == (0, "", 5)
    for entry in found["runs"]:
        run = entry["run"]
        manifest = orjson.loads((Path(run["path"]) / "run.json").read_bytes())
        for name in ("target", "arrivals", "open_loop", "workload", "group", "repeat", "started"):
            assert run[name] == manifest[name], name
        rows = list(csv.DictReader(io.StringIO((Path(entry["folder"]) / "summary.csv").read_text())))
        assert {row["metric"] for row in rows} == set(run["metrics"])
        for row in rows:
            metric = run["metrics"][row["metric"]]
            assert row["unit"] == metric["unit"]
            for end in ("center", "lo", "hi", "confidence"):
                assert (float(row[end]) if row[end] else None) == metric[end]
            assert row["warnings"] == "; ".join(metric["warnings"])
            assert row["valid"] == str(run["valid"]).lower()
        assert run["due"] == sum(run["counts"].values())
        assert all((Path(entry["folder"]) / name).is_file() for name in (*entry["plots"], "report.html"))
    (group,) = found["repeats"]
    assert (group["valid"], len(group["runs"])) == (5, 5)
    center = group["metrics"]["from_due_p50"]["center"]
    each = [entry["run"]["metrics"]["from_due_p50"]["center"] for entry in found["runs"]]
    assert min(each) < center < max(each)
    assert (Path(found["side_by_side"]) / "report.html").is_file()


def test_compare(quick: Path, slow: Path) -> None:
    code, out, err = call("--json", "compare", quick, slow)
    (found,) = document(out, "compare")["comparisons"]
    assert (code, err) == (0, "")
    p50 = found["changes"]["from_due_p50"]
    assert p50["verdict"] == "worse"
    assert p50["change"]["center"] == pytest.approx(p50["after"]["center"] / p50["before"]["center"], rel=0.02)
    assert p50["change"]["lo"] > 1


def test_compare_refused_is_inconclusive(quick: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path, simulate("constant:rate=30", WORKLOAD), "constant:rate=30", WORKLOAD).path
    code, out, err = call("compare", quick, other, "--json")
    found = document(out, "error")
    assert (code, found["error"]["kind"], found["message"]) == (3, "inconclusive", err.rstrip("\n"))


@pytest.mark.parametrize("form", ["print", "file"])
def test_a_gate(form: str, quick: Path, slow: Path, tmp_path: Path) -> None:
    given = ["gate", "--baseline", quick, "--candidate", slow]
    file = tmp_path / "gate.json"
    code, out, err = call(*given, "--json", *([file] if form == "file" else []))
    found = document(out if form == "print" else f"{orjson.dumps(orjson.loads(file.read_bytes())).decode()}\n", "gate")
    assert (code, found["exit_code"], found["verdict"], found["format"]) == (1, 1, "REGRESSION", 2)
    assert found["message"] == err.rstrip("\n")
    assert found["metrics"][0]["worse_by"] > 1
    if form == "file":
        assert out.splitlines()[-1].startswith("REGRESSION: ")


def test_gate_history(quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(repeats(tmp_path / "more", seed=40, count=6), folder)
    code, out, err = call("gate", "history", folder, "--json")
    found = document(out, "gate history")
    assert (code, err, found["note"]) == (0, "", None)
    series = {entry["metric"]["name"]: entry for entry in found["series"]}
    assert len(series["from_due_p50"]["values"]) == len(series["from_due_p50"]["runs"]) == 6
    assert Path(found["plot"]).is_file()


def test_baselines(quick: Path, tmp_path: Path) -> None:
    store = ["--store", tmp_path / "store", "--json"]
    added = document(call("baseline", "add", quick, "--label", "main", *store)[1], "baseline add")["entry"]
    assert (added["label"], added["promoted"], len(added["runs"])) == ("main", False, 5)
    promoted = document(call("baseline", "promote", "main", *store)[1], "baseline promote")["entry"]
    assert promoted == added | {"promoted": True}
    assert document(call("baseline", "list", *store)[1], "baseline list")["entries"] == [promoted]
    shown = document(call("baseline", "show", *store)[1], "baseline show")
    assert [run["name"] for run in shown["runs"]] == added["runs"]
    bad = repeats(tmp_path / "bad", outcome=Outcome.WRONG_ANSWER, count=1)
    code, out, err = call("baseline", "add", bad, "--promote", *store)
    refused = document(out, "baseline add")
    assert (code, refused["exit_code"], refused["message"]) == (1, 1, err.rstrip("\n"))
    assert refused["entry"]["problems"]
    assert not refused["entry"]["promoted"]


def test_a_run_without_answers_has_null_and_no_nan(tmp_path: Path) -> None:
    run = repeats(tmp_path / "dead", outcome=Outcome.TIMEOUT, count=1)
    found = document(call("report", run, "--json")[1], "report")["reports"]["runs"][0]["run"]
    assert found["metrics"]["from_due_p99"]["center"] is None
    assert found["counts"]["timeout"] == found["due"]


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["compare", "QUICK", "SLOW", "-q"], [r" metrics changed significantly: "]),
        (["gate", "--baseline", "QUICK", "--candidate", "SLOW", "-q"], ["REGRESSION: latency p50"]),
        (["-q", "report", "ONE", "OTHER", "--out", "OUT"], ["report.html"] * 3),
        (["baseline", "add", "QUICK", "--store", "OUT", "-q"], ["added "]),
    ],
)
def test_quiet_leaves_the_verdict(words: list[str], lines: list[str], quick: Path, slow: Path, tmp_path: Path) -> None:
    one, other, *_ = sorted(slow.iterdir())
    places = {"QUICK": quick, "SLOW": slow, "ONE": one, "OTHER": other, "OUT": tmp_path / "out"}
    _, out, _ = call(*(places.get(word, word) for word in words))
    assert len(out.splitlines()) == len(lines)
    assert all(text in line for text, line in zip(lines, out.splitlines(), strict=True))


@pytest.mark.parametrize(("end", "passes"), [("0.2", True), ("0.3", False), ("null", False)])
def test_the_check_in_the_documentation_passes_nothing_without_data(end: str, passes: bool) -> None:
    """jq sorts null before all numbers."""
    text = (Path(__file__).parents[2] / "docs/reference/json-output.md").read_text(encoding="utf-8")
    (check,) = re.findall(r"^jq -e '(.*)' run\.json$", text, re.MULTILINE)
    document = f'{{"runs": [{{"valid": true, "metrics": {{"from_due_p99": {{"hi": {end}}}}}}}]}}'
    done = subprocess.run([installed("jq"), "-e", check], input=document, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0 if passes else 1, "")


def test_jq_reads_it(quick: Path, slow: Path) -> None:
    _, out, _ = call("compare", quick, slow, "--json")
    query = '.comparisons[].changes | to_entries[] | select(.value.verdict == "worse") | .key'
    done = subprocess.run([installed("jq"), "-r", query], input=out, capture_output=True, text=True, check=True)
    assert "from_due_p50" in done.stdout.split()


def test_the_workload_is_that_of_the_run(quick: Path) -> None:
    run, *_ = sorted(quick.iterdir())
    (found,) = document(call("report", run, "--json")[1], "report")["reports"]["runs"]
    expected = asdict(replace(WORKLOAD, duration=15.0, warmup=1.0))
    assert found["run"]["workload"] == expected | {"seed": found["run"]["workload"]["seed"]}
