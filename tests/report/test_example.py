"""The checked-in example run: its report is what `bertbench report` writes today."""

import io
import shutil
from pathlib import Path

import pytest

from bench.cli import main

EXAMPLE = Path(__file__).parents[2] / "results" / "example" / "rest"


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
