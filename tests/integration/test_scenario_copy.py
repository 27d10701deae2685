"""A copied scenario runs outside the checkout, as it is and with what its comments show."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.analysis.run import analyse
from bench.bert.contract.exported_model import ExportedModel
from bench.server.lifecycle import RunningServer
from tests.support.locust_process import Ended, environment, locust
from tests.support.programmed_servers import rest_server

OPTION = re.compile(r'^( +)# ("\w+": .*)$', re.MULTILINE)


def copied(name: str, folder: Path) -> Path:
    """Copies a scenario as a user does, from a folder outside the checkout."""
    command = [sys.executable, "-m", "bench", "scenario", "copy", name]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.py")
    return path


def enabled(text: str) -> str:
    """The file with all its examples in force."""
    head, marker, tasks = text.partition("# from locust import")
    tasks = re.sub(r"^# ?", "", marker + tasks, flags=re.MULTILINE)
    imports, _, tasks = tasks.partition("\n")
    options = OPTION.sub(r"\1\2", head)
    return f"{imports}\n{options}\n{tasks}"


def accounts_for_all(ended: Ended) -> None:
    assert ended.code == 0, ended.err
    counts = ended.accounted()
    assert set(counts) == {"ok"}
    assert counts["ok"] > 10
    assert analyse(ended.run).summary.metrics["from_due_p50"].center > 0


@pytest.mark.parametrize("name", ["rest", "grpc"])
def test_a_copy_runs_outside_the_checkout(name: str, demo_server: RunningServer, tmp_path: Path) -> None:
    path = copied(name, tmp_path)
    host = str(demo_server.rest if name == "rest" else demo_server.grpc)
    accounts_for_all(locust(str(path), tmp_path / "runs", "-u", "2", "-t", "3s", "--host", host, cwd=tmp_path))


@contextmanager
def watched(server: RunningServer, seen: list[tuple[str, dict[str, str]]]) -> Iterator[str]:
    """The address of a proxy that notes path and headers of each request."""

    def handle(method: str, path: str, body: bytes, handler: Any) -> Any:
        seen.append((f"{method} {path}", dict(handler.headers)))
        answer = requests.request(method, f"{server.rest}{path}", data=body, timeout=30)
        return answer.status_code, answer.content

    with rest_server(handle) as address:
        yield address


def test_the_comments_show_what_works(
    demo_model: ExportedModel, demo_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "Bearer abc")
    path = copied("rest", tmp_path)
    path.write_text(enabled(path.read_text()))
    (tmp_path / "my-model").symlink_to(demo_model.model_dir)
    seen: list[tuple[str, dict[str, str]]] = []
    with watched(demo_server, seen) as address:
        ended = locust(str(path), tmp_path / "runs", "-u", "3", "-t", "4s", "--host", address, cwd=tmp_path)
    accounts_for_all(ended)
    workload = ended.run.manifest.workload
    assert (workload.users, workload.timeout) == (2, 5.0)
    sent = [headers for request, headers in seen if request.endswith(":predict")]
    assert all(headers["X-Team"] == "search" and headers["Authorization"] == "Bearer abc" for headers in sent)
    assert len(sent) >= ended.accounted()["ok"]
    assert "GET /v1/models/bert" in [request for request, _ in seen]
    assert re.search(r"GET\s+/v1/models/bert\s+[1-9]", ended.out + ended.err)
