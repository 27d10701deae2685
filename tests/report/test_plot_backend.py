"""Plots are drawn into memory, whatever the environment says of screens."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "results" / "example"
MODULES = ("bench.capacity.report.plots", "bench.report.runs.latency_plots", "bench.report.runs.load_plots")
CODE = """
import importlib, os, sys
importlib.import_module(sys.argv[1])
import matplotlib
print(matplotlib.get_backend(auto_select=False), os.environ["MPLBACKEND"])
"""


@pytest.mark.parametrize("module", MODULES)
def test_a_backend_that_is_not_installed_is_not_asked_for(module: str) -> None:
    """Of a name that no package can have; one that there is stays chosen."""
    for backend, kept in (("module://a-b.none", None), ("svg", "svg")):
        done = subprocess.run(
            [sys.executable, "-c", CODE, module],
            env={**os.environ, "MPLBACKEND": backend},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert kept is None or done.stdout.split() == [kept, backend]


def test_a_report_under_jupyter(tmp_path: Path) -> None:
    """`!bertbench report` in a notebook."""
    words = [sys.executable, "-m", "bench", "report", str(EXAMPLE / "rest"), "--out", str(tmp_path)]
    env = {**os.environ, "MPLBACKEND": "module://a-b.none"}
    done = subprocess.run(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "server.png").is_file()
