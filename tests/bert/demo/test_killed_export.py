"""The export of the demo model into the cache, whose starter is killed: it ends too, and leaves nothing for good."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from bench.core.atomic_files import scratch_folder
from tests.support.locust_process import wait_for

STARTER = "from bench.bert.demo.demo_model import demo_model_dir; demo_model_dir()"


def test_the_export_ends_with_its_starter(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", STARTER], env=environment) as starter:
        (export,) = wait_for(psutil.Process(starter.pid).children)
        starter.kill()
    assert not psutil.wait_procs([export], 120)[1]
    (left,) = (tmp_path / "bertbench").iterdir()
    assert not list(left.glob("model/*"))
    with scratch_folder(left.parent, ".demo-") as folder:
        assert list(left.parent.iterdir()) == [folder]
