"""The wheel in an empty environment, outside any checkout: what is in it, and what it does there."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bench import __version__
from bench.load.setup.catalog import FILES
from bench.results.run_reader import find_runs
from bench.server.lifecycle import RunningServer
from tests.support.installation import ROOT, Installation, copy_sources, dependencies, install, required
from tests.support.pages import GUIDE, Block, blocks

pytestmark = pytest.mark.long(75)

SHELL = [block for page in GUIDE for block in blocks(page, "sh") if "wheel" in block.info]
# A block that stands on two pages is run once.
THREE_COMMANDS = list({block.text: block for block in SHELL}.values())

# A plugin like those of the package on PyPI: it adds an option to Locust's.
PLUGIN = """
from locust import events

@events.init_command_line_parser.add_listener
def add(parser, **_):
    parser.add_argument("--plugin-option")
"""

# The interpreter of the tests, which says that it is of another version.
PYTHON = """#!/bin/sh
faked="import sys; sys.version_info = ({version}, 0, 'final', 0); exec(sys.argv.pop())"
[ "$1" != -c ] || exec {python} -c "$faked" "$2"
exec {python} "$@"
"""


@pytest.fixture(scope="module")
def base(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What `pip install` of the wheel brings."""
    return install(tmp_path_factory.mktemp("base") / "env", required(*dependencies()), wheel)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f"bertbench-{__version__}.dist-info/METADATA").decode()
    assert {name.partition("/")[0] for name in names} == {"bench", f"bertbench-{__version__}.dist-info"}
    tracked = [path for path in (ROOT / "bench").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {str(path.relative_to(ROOT)) for path in tracked if path.suffix not in (".md", ".txt")}
    expected |= {f"bench/scenarios/{file}" for file in FILES.values()}
    assert expected <= set(names)
    assert "License-File: LICENSE" in metadata
    assert "Classifier: Programming Language :: Python :: 3.13" in metadata
    assert "Keywords: " in metadata


def make_wheel(source: Path, version: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """`make wheel` where `python3` has this version and nothing else is there, without a network."""
    tools = source.parent / "bin"
    tools.mkdir()
    (tools / "python3").write_text(PYTHON.format(python=sys.executable, version=version.replace(".", ", ")))
    (tools / "python3").chmod(0o755)
    return subprocess.run(
        ["/usr/bin/make", "wheel", "PIP_ARGS=--no-index --no-build-isolation", *words],
        cwd=source,
        env={"PATH": str(tools), "HOME": str(source)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_make_wheel_takes_any_later_python_and_makes_no_environment(wheel: Path, tmp_path: Path) -> None:
    source = copy_sources(tmp_path / "source", "Makefile")
    done = make_wheel(source, "3.13")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (source / "dist").iterdir()] == [wheel.name]
    assert not (source / ".venv").exists()


@pytest.mark.parametrize(
    ("words", "says"), [((), "was not found"), (("PYTHON=/nowhere/python3",), "/nowhere/python3 is not it")]
)
def test_make_wheel_says_which_python_it_needs(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "Makefile").symlink_to(ROOT / "Makefile")
    done = make_wheel(tmp_path / "source", "3.10", *words)
    assert done.returncode == 2
    ours, makes = done.stderr.splitlines()
    assert ours.startswith(f"make: Python 3.11 or later with pip is needed and {says}; ")
    assert makes.startswith("make: *** ")


def test_no_module_of_ours_takes_the_name_of_another_package(base: Installation, tmp_path: Path) -> None:
    done = base.run(base.python, "-c", "import locust_plugins", cwd=tmp_path)
    assert "No module named 'locust_plugins'" in done.stderr


def test_options_of_locust_plugins_and_of_a_scenario_are_both_there(base: Installation, tmp_path: Path) -> None:
    assert base.run("bertbench", "scenario", "copy", "rest", cwd=tmp_path).returncode == 0
    plugins = tmp_path / "plugins" / "locust_plugins"
    plugins.mkdir(parents=True)
    (plugins / "__init__.py").write_text(PLUGIN)
    done = base.run(
        "locust", "-f", "rest.py", "--scenario-help", cwd=tmp_path, PYTHONPATH=str(plugins.parent), COLUMNS="120"
    )
    assert done.returncode == 0, done.stderr
    assert "--plugin-option" in done.stdout
    assert "--arrivals" in done.stdout


def test_commands_that_need_no_server_work(base: Installation, tmp_path: Path) -> None:
    done = base.run("bertbench", "--version", cwd=tmp_path)
    assert done.stdout == f"bertbench {__version__}\n"
    assert "single-stream" in base.run("bertbench", "scenario", "list", cwd=tmp_path).stdout
    done = base.run("bertbench", "calibrate", "--ways", "rest-fast,grpc-fast", "--duration", "1s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^grpc-fast +[\d,.]+/s", done.stdout, re.MULTILINE)
    done = base.run("bertbench", "demo", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("bertbench: the demo needs tensorflow, which is not installed; run: pip install ")


@pytest.mark.parametrize("block", THREE_COMMANDS, ids=lambda block: block.name)
def test_three_commands_lead_to_the_first_p99(
    block: Block, wheel: Path, demo_server: RunningServer, tmp_path: Path
) -> None:
    """In an environment that has pip, and the downloads: they are there instead of in pip's cache."""
    user = install(tmp_path / "env", required(*dependencies(), "pip"))
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / wheel.name).symlink_to(wheel)
    (tmp_path / "constraints.txt").symlink_to(ROOT / "constraints.txt")
    script = block.text.replace("localhost:8500", str(demo_server.grpc))
    assert len(block.commands()) == 3
    done = user.run("bash", "-euo", "pipefail", "-c", script, cwd=tmp_path, PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    assert re.search(r"latency from due .* p99 [\d.]+ (ms|s) \[", done.stdout), done.stdout
    (run,) = find_runs([tmp_path / "results"])
    assert run.manifest.workload.protocol == "grpc"
    assert {name for name, count in run.file.counts.items() if count} == {"ok"}
    assert (run.path / "report.html").is_file()
