"""The scenario files, and what importing the load generator does to a process."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.load.locust_adapter.options import OPTIONS, SWITCHES
from bench.load.setup.catalog import FILES as KNOWN
from bench.load.setup.catalog import SCENARIOS

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "scenarios").glob("*.py"))


def python(code: Any) -> Any:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_scenario_is_short_and_shadows_no_package(path: Any) -> None:
    """Locust puts the scenario's folder first on `sys.path`."""
    assert len(path.read_text().splitlines()) < 60
    assert importlib.util.find_spec(path.stem) is None
    classes = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    assert len(classes) == 1


def test_bertbench_run_knows_every_scenario() -> None:
    assert sorted(KNOWN.values()) == [path.name for path in FILES]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_file_installs_the_scenario_of_its_name(name: Any) -> None:
    assert f'install(SCENARIOS["{name}"])' in (ROOT / "scenarios" / KNOWN[name]).read_text()


def test_only_a_scenario_patches_the_process() -> None:
    """Importing the library leaves sockets and threads as they are."""
    code = """
import importlib, pkgutil, socket, sys, time
import bench.load
before = socket.socket, time.sleep
names = [module.name for module in pkgutil.walk_packages(bench.load.__path__, "bench.load.")]
for name in names:
    if name != "bench.load.scenario" and (".locust_adapter." not in name or name.endswith(".options")):
        importlib.import_module(name)
assert (socket.socket, time.sleep) == before
assert "locust" not in sys.modules
from gevent import monkey
assert not monkey.saved
print(len(names))
"""
    assert int(python(code)) > 30


@pytest.mark.parametrize("path", [FILES[0], FILES[-1]], ids=lambda path: path.name)
def test_the_scenario_s_help_has_its_options_beside_locust_s(path: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(path), "--scenario-help"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for option in (*OPTIONS, *SWITCHES, "headless"):
        assert f"--{option.replace('_', '-')}" in done.stdout


def test_one_scenario_at_a_time() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", f"{FILES[0]},{FILES[1]}", "--list"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "one scenario at a time" in done.stderr
