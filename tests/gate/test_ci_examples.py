"""The CI examples of docs/guide/ci, run as far as they can be without the services they are for."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
import yaml

from tests.support.synthetic_runs import WORKLOAD, exponential, simulate, write_run

ROOT = Path(__file__).parents[2]
CI = ROOT / "docs/guide/ci"
ARRIVALS = "constant:rate=60"


def stored(root: Path, mean: float, seed: int, count: int = 6) -> str:
    for repeat in range(count):
        workload = replace(WORKLOAD, seed=seed + repeat, duration=15.0, warmup=1.0)
        write_run(root, simulate(ARRIVALS, workload, exponential(mean)), ARRIVALS, workload, slug=f"run-{repeat}")
    return str(root)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("sides")
    return {
        "base": stored(root / "base", 0.003, 1),
        "slow": stored(root / "slow", 0.009, 20),
        "few": stored(root / "few", 0.003, 40, count=2),
    }


def shell(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    summary = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    environment = {**os.environ, "PATH": tools, **summary, **variables}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def github_step(name: str) -> dict[str, Any]:
    workflow = yaml.safe_load((CI / "github-gate.yml").read_text())
    return next(step for step in workflow["jobs"]["gate"]["steps"] if step.get("name") == name)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(("candidate", "code", "mark"), [("slow", 1, "REGRESSION"), ("few", 0, "INCONCLUSIVE")])
def test_the_github_step(sides: dict[str, str], tmp_path: Path, candidate: str, code: int, mark: str) -> None:
    done = shell(github_step("gate")["run"], tmp_path, BASELINE=sides["base"], CANDIDATE=sides[candidate])
    assert done.returncode == code, done.stderr
    assert f"Gate: {mark}" in (tmp_path / "summary.md").read_text()
    assert orjson.loads((tmp_path / "gate" / "gate.json").read_bytes())["verdict"] == mark
    assert ("::warning::" in done.stdout) == (mark == "INCONCLUSIVE")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_gitlab_job(sides: dict[str, str], tmp_path: Path) -> None:
    job = yaml.safe_load((CI / "gitlab-gate.yml").read_text())["performance gate"]
    script = "\n".join(job["script"])
    done = shell(script, tmp_path, BASELINE=sides["base"], CANDIDATE=sides["slow"])
    assert done.returncode == 1, done.stderr
    report = ElementTree.parse(tmp_path / job["artifacts"]["reports"]["junit"])
    assert report.find(".//testcase[@name='verdict']/failure") is not None
    unclear = shell(script, tmp_path, BASELINE=sides["base"], CANDIDATE=sides["few"])
    assert unclear.returncode == job["allow_failure"]["exit_codes"] == 3


def test_every_bertbench_command_in_the_examples_is_one() -> None:
    from bench.cli import COMMANDS

    for path in [CI.parent / "gate-in-ci.md", *CI.iterdir()]:
        for line in path.read_text().splitlines():
            words = line.replace("python -m bench ", "bertbench ").split()
            for index, word in enumerate(words[:-1]):
                if word in ("bertbench", "`bertbench"):
                    assert words[index + 1].strip("`") in COMMANDS, f"{path.name}: {line.strip()}"


def test_set_up_steps_name_targets_that_make_knows() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert 'make -C "$BERTBENCH" setup\n' in github_step("set up")["run"]
    assert "\nsetup:" in makefile
