"""`bertbench demo` from end to end, and README's picture of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.results.run_reader import find_runs
from tests.support.locust_process import ROOT, environment
from tests.support.readme import shown, skeleton


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "demo", "--seconds", "3", "--out", str(folder / "results")],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
        env=environment(),
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, folder / "results"


def test_readme_shows_the_output_of_today(demo: tuple[str, Path]) -> None:
    """Line by line, figures aside: labels, headings, columns, words scored."""
    before_report = demo[0].partition("\n7. Report")[0]
    assert skeleton(shown("1. Export")) == skeleton(before_report)


def test_the_demo_leaves_two_reported_runs(demo: tuple[str, Path]) -> None:
    runs = find_runs([demo[1]])
    assert {run.manifest.workload.protocol for run in runs} == {"rest", "grpc"}
    assert len(runs) == 2
    assert all((run.path / "report.html").is_file() for run in runs)
    assert (demo[1] / "report" / "report.html").is_file()
