"""The checked-in example: its report is what `bertbench report` writes today, and its page says how it was made."""

import io
import re
import shutil
from pathlib import Path

import pytest

from bench.cli import main
from bench.cli.dispatch import make_parser
from tests.support.pages import ROOT, blocks

EXAMPLE = ROOT / "results" / "example" / "rest"
PAGE = EXAMPLE.with_name("README.md")


@pytest.mark.parametrize("name", ["report.md", "summary.csv"])
def test_the_example_s_report_is_today_s(tmp_path: Path, name: str) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "rest")
    (tmp_path / "rest" / name).unlink()
    assert main(["report", str(tmp_path / "rest")], io.StringIO(), io.StringIO()) == 0
    assert (tmp_path / "rest" / name).read_text("utf-8") == (EXAMPLE / name).read_text("utf-8")


def test_a_report_of_all_runs_leaves_the_example_out(tmp_path: Path) -> None:
    """It is under version control."""
    shutil.copytree(EXAMPLE.parent, tmp_path / "results" / "example")
    err = io.StringIO()
    assert main(["report", str(tmp_path / "results")], io.StringIO(), err) == 2
    assert "holds no run" in err.getvalue()
    assert not (tmp_path / "results" / "report").exists()


def test_the_commands_of_the_example_are_those_of_today() -> None:
    found = [words[1:] for block in blocks(PAGE, "sh") for words in block.commands() if words[0] == "bertbench"]
    for words in found:
        make_parser(words).parse_args(words)
    assert {words[0] for words in found} >= {"run", "compare", "gate", "capacity", "score", "demo"}


def test_the_page_of_the_example_shows_what_is_there() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text("utf-8")):
        assert (PAGE.parent / link).exists(), link
    assert sum(path.stat().st_size for path in PAGE.parent.rglob("*")) < 8_000_000
