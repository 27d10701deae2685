"""Folders and files whose names are not UTF-8: as arguments, in what is printed, and in what is written."""

import io
import os
import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.core.output import to_utf8, unicode_text
from bench.results.run_reader import open_run

EXAMPLES = Path(__file__).parents[2] / "results" / "example"
TEXTS = {".md", ".html", ".csv", ".json", ".xml"}


def folder(root: Path, kind: str, name: bytes) -> Path:
    return Path(shutil.copytree(EXAMPLES / kind, root / os.fsdecode(name)))


def call(*words: object) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main([str(word) for word in words], out, err)
    assert err.getvalue() == ""
    return code, out.getvalue()


def written(root: Path) -> str:
    """All text files below a folder."""
    return "".join(path.read_text(encoding="utf-8") for path in root.rglob("*") if path.suffix in TEXTS)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("report", ("--markdown", "{out}/runs.md", "--junit", "{out}/runs.xml")),
        ("report", ("--json",)),
        ("compare", ("--anyway",)),
        ("compare", ("--anyway", "--json")),
    ],
)
def test_runs_are_reported_and_compared(command: str, options: tuple[str, ...], tmp_path: Path) -> None:
    runs = [folder(tmp_path, kind, name) for kind, name in (("rest", b"a\xff"), ("grpc", b"b\xfe"))]
    out = tmp_path / os.fsdecode(b"out\xfd")
    out.mkdir()
    assert call(command, *runs, "--out", out, *(word.format(out=out) for word in options))[0] == 0
    text = written(out)
    assert r"a\xff" in text or r"a\\xff" in text
    assert "\udcff" not in text


def test_a_page_links_to_the_bytes_of_the_name(tmp_path: Path) -> None:
    runs = [folder(tmp_path, kind, name) for kind, name in (("rest", b"a\xff"), ("grpc", b"b\xfe"))]
    assert call("report", *runs)[0] == 0
    pages = [path.read_text(encoding="utf-8") for path in tmp_path.glob("report/report.html")]
    assert len(pages) == 1
    assert "../a%FF/report.html" in pages[0]


def test_a_plan_is_written(tmp_path: Path) -> None:
    sweep, plan = folder(tmp_path, "capacity", b"sweep\xff"), tmp_path / os.fsdecode(b"plan\xfe.md")
    assert call("capacity", "plan", sweep, "--plan", "rate=100/s", "--out", plan)[0] == 0
    assert "100" in plan.read_text(encoding="utf-8")


def test_a_baseline_is_stored_under_a_name_that_a_file_can_hold(tmp_path: Path) -> None:
    run, store = folder(tmp_path, "rest", b"a\xff"), tmp_path / os.fsdecode(b"store\xfe")
    assert call("baseline", "add", run, "--store", store)[0] == 0
    assert call("baseline", "list", "--store", store)[0] == 0
    (stored,) = store.rglob("run.json")
    assert stored.parent.name == r"a\xff"
    assert open_run(stored.parent).finished


def test_undecodable_bytes_are_escaped() -> None:
    assert unicode_text(os.fsdecode(b"n\xc3\xbc\xff")) == "nü\\xff"
    assert unicode_text("\udfff") == "\\xed\\xbf\\xbf"
    assert to_utf8("nü") == "nü".encode()
