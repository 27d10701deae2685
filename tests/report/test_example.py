"""The checked-in example run: its report is what `bertbench report` writes today."""

import io
import shutil
from pathlib import Path

import pytest

from bench.cli import main

EXAMPLE = Path(__file__).parents[2] / "results" / "example"


@pytest.mark.parametrize("name", ["report.md", "summary.csv"])
def test_the_example_s_report_is_today_s(tmp_path: Path, name: str) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "example")
    (tmp_path / "example" / name).unlink()
    assert main(["report", str(tmp_path / "example")], io.StringIO(), io.StringIO()) == 0
    assert (tmp_path / "example" / name).read_text("utf-8") == (EXAMPLE / name).read_text("utf-8")
