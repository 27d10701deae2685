"""`bertbench demo` from end to end, by the wheel with the extra `model`, and README's picture of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.results.run_reader import find_runs
from tests.support.installation import dependencies, install, required
from tests.support.readme import shown, skeleton

pytestmark = pytest.mark.long(90)

# How often each scorer is asked shows nothing more here.
FEW_CALLS = """
import sys
if "demo" in sys.orig_argv:
    from bench.cli import demo
    demo.COLD_CALLS, demo.WARM_CALLS = 2, 20
"""


@pytest.fixture(scope="module")
def demo(
    wheel: Path, demo_model: ExportedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """The exported demo model is in the cache, as at a second call."""
    folder = tmp_path_factory.mktemp("demo")
    full = install(folder / "env", required(*dependencies("model")), wheel)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(FEW_CALLS)
    given = {"XDG_CACHE_HOME": str(demo_model.model_dir.parents[1]), "PYTHONPATH": str(folder / "site")}
    done = full.run("bertbench", "demo", "--seconds", "3", cwd=folder, timeout=580, **given)
    assert done.returncode == 0, done.stderr
    yield done.stdout, folder / "results"
    shutil.rmtree(full.folder)


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
