"""A worker whose clocks are 2 s ahead of the master's: the run is as without it, and the report has the difference."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from bench.bert.demo.client_files import CLIENT_FOLDER
from bench.load.selftest.null_server import null_server
from bench.results.run_reader import find_runs
from tests.support.locust_process import ROOT, command, environment

AHEAD: Final = 2.0
# What a process imports first of all.
SHIFT: Final = f"""
import time
for name in ("time", "perf_counter", "monotonic"):
    real = getattr(time, name)
    setattr(time, name, lambda real=real: real() + {AHEAD})
"""
USERS: Final = 8
SECONDS: Final = 4


def start(*words: str, **own: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command("rest.py", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment() | own,
        cwd=ROOT,
        start_new_session=True,
    )


@pytest.fixture
def shifted(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "shift"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIFT)
    return {"PYTHONPATH": os.pathsep.join((str(folder), *filter(None, [os.environ.get("PYTHONPATH")])))}


def test_a_worker_whose_clocks_are_ahead(shifted: dict[str, str], tmp_path: Path) -> None:
    port = environment()["LOCUST_MASTER_BIND_PORT"]
    ports = {"LOCUST_MASTER_BIND_PORT": port, "LOCUST_MASTER_NODE_PORT": port}
    results = tmp_path / "results"
    with null_server(CLIENT_FOLDER) as addresses:
        workers = [start("--worker", **ports), start("--worker", **ports, **shifted)]
        words = ["--master", "--headless", "--only-summary", "--expect-workers", "2", "-u", str(USERS)]
        words += ["-t", f"{SECONDS}s", "--host", addresses["rest"], "--model-dir", str(CLIENT_FOLDER), "--no-preflight"]
        words += ["--results", str(results), "--arrivals", "constant:rate=50", "--warmup", "0"]
        with start(*words, **ports) as master:
            out, _ = master.communicate(timeout=120)
        for worker in workers:
            with worker:
                worker.communicate(timeout=60)
    assert master.returncode == 0, out
    (run,) = find_runs([results])
    assert {name for name, count in run.file.counts.items() if count} == {"ok"}
    assert run.manifest.scheduled == 50 * SECONDS

    records = run.columns(["worker", "due", "sent"])
    (note,) = (text for text in run.manifest.warnings if "clock of worker" in text)
    found = re.match(r"the clock of worker (\d) is ([\d.]+) s ahead of the master's \(± ([\d.]+) (ms|µs)\)", note)
    assert found is not None, note
    # Its requests were sent at their times, which are those of the other's clock.
    own = records["worker"] == int(found[1])
    assert own.sum() == 25 * SECONDS
    late = records["sent"] - records["due"]
    assert abs(np.median(late[own])) < AHEAD / 2
    bound = float(found[3]) * {"ms": 1e-3, "µs": 1e-6}[found[4]]
    # A tenth of a millisecond more, since both are rounded.
    assert abs(float(found[2]) - AHEAD) <= bound + 1e-4
