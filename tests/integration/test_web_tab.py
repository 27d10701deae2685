"""The tab of Locust's web page, in Chromium during a run of two workers, and its JSON."""

import html
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from bench.analysis.run import analyse
from bench.results.run_reader import find_runs
from tests.support.browser import chromium
from tests.support.locust_process import free_port, started, wait_for
from tests.support.queue_server import queue_server
from tests.support.toy_golden import write_model_dir


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Locust's web page with two workers, and the folder of its runs."""
    folder = tmp_path_factory.mktemp("web")
    model_dir, port = write_model_dir(folder / "model"), free_port()
    with queue_server(model_dir, servers=4, mean=0.01, wrong=0.02) as host:
        words = ["--host", host, "--model-dir", str(model_dir), "--results", str(folder / "runs"), "--processes", "2"]
        process = started("rest.py", *words, "--web-port", str(port))
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: workers(url) == 2)
            yield url, folder / "runs"
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.communicate()


def workers(url: str) -> int:
    try:
        return int(requests.get(f"{url}/worker-count", timeout=20).json()["worker_count"])
    except requests.RequestException:
        return 0


def start(url: str, **fields: str) -> None:
    form = {"user_count": "16", "spawn_rate": "100", "run_time": "14s", "arrivals": "poisson:rate=50", "warmup": "2s"}
    reply = wait_for(lambda: begun(requests.post(f"{url}/swarm", data={**form, **fields}, timeout=120).json()))
    assert reply["success"]


def begun(reply: dict[str, Any]) -> dict[str, Any] | None:
    return reply if reply["success"] else None


def state(url: str, after: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{url}/bertbench/figures", params={"after": after}, timeout=20).json()
    return found


def dom(url: str, profile: Path) -> str:
    """The page as Chromium shows it after some seconds."""
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000", f"--user-data-dir={profile}"]
    done = subprocess.run([chromium(), *words, "--dump-dom", url], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def text_of(page: str, name: str) -> str:
    """The text of the element with an id; "" without it."""
    found = re.search(rf'id="{name}"[^>]*>(.*?)</', page, re.DOTALL)
    return html.unescape(found[1]) if found else ""


def number_of(text: str, name: str) -> int:
    found = re.search(rf"([\d,]+) {name}", text)
    return int(found[1].replace(",", "")) if found else 0


def test_the_start_form_says_what_is_tested_without_a_host(tmp_path: Path) -> None:
    port = free_port()
    process = started("rest.py", "--results", str(tmp_path), "--web-port", str(port))
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: reached(url))
        page = dom(url, tmp_path / "profile")
    finally:
        process.kill()
        process.communicate()
    assert text_of(page, "bertbench-host") == (
        "Host empty: bertbench starts its embedded server on the demo model, and tests that."
    )
    assert "no host attribute" not in page


def reached(url: str) -> bool:
    try:
        return requests.get(url, timeout=20).ok
    except requests.RequestException:
        return False


def test_figures_move_and_agree_with_the_run_at_its_end(served: tuple[str, Path], tmp_path: Path) -> None:
    url, runs = served
    # Longer than Chromium takes on a busy machine, and stopped when it has looked twice.
    start(url, run_time="300s", slo="p50<=1s,wrong=0")
    wait_for(lambda: (found := state(url)["snapshot"]) and found["objectives"])
    first = dom(f"{url}/?tab=bertbench", tmp_path / "profile")
    second = dom(f"{url}/?tab=bertbench", tmp_path / "profile")
    assert requests.post(f"{url}/stop", timeout=120).ok
    wait_for(lambda: state(url)["report"])
    last = dom(f"{url}/?tab=bertbench", tmp_path / "profile")
    counts = [number_of(text_of(page, "bertbench-counts"), "ok") for page in (first, second, last)]
    assert 0 < counts[0] < counts[1] <= counts[2]
    run = find_runs([runs])[-1]
    shown = text_of(last, "bertbench-counts")
    assert {name: number_of(shown, name) for name in ("ok", "wrong_answer")} == {
        name: count for name, count in run.file.counts.items() if count
    }
    assert f"{sum(analyse(run).summary.warmup.values())} of them in the warm-up" in shown
    assert run.name in text_of(last, "bertbench-position")
    assert "poisson:rate=50" in text_of(last, "bertbench-target")
    assert last.count("<polyline") == 10
    assert 'id="bertbench-report"' in last
    assert 'id="bertbench-report"' not in first
    assert "requests were due" in text_of(last, "bertbench-outcome")
    assert 'id="bertbench-objectives"' not in last
    for page in (first, second):
        rows = re.findall(r"<tr><td>(p50&lt;=1000ms|wrong=0)</td><td>(PASS|FAIL|CANNOT TELL)</td>", page)
        assert [name for name, _ in rows] == ["p50&lt;=1000ms", "wrong=0"]


def test_the_json_agrees_with_the_run(served: tuple[str, Path]) -> None:
    url, runs = served
    before = len(list(runs.glob("*")))
    # Two workers, and a run that stops by itself: 40 s at most, some 3 s as a rule, at a rate for a busy machine.
    start(url, run_time="5s", warmup="1s", seed="3", arrivals="poisson:rate=60", until="p50±50%")
    wait_for(lambda: len(list(runs.glob("*"))) > before)
    wait_for(lambda: (found := state(url))["report"] and found["run"] == find_runs([runs])[-1].name)
    found, run = state(url), find_runs([runs])[-1]
    assert run.file.stopping is not None
    assert re.fullmatch(r"p50 is known to ±[\d.]+ %, after \d+ looks?", run.file.stopping.reason)
    assert run.file.elapsed < 41
    snapshot, summary = found["snapshot"], analyse(run).summary
    assert snapshot["phase"] == "ended"
    assert snapshot["requests"] == run.file.counts
    assert snapshot["warmup_requests"] == summary.warmup
    live = {entry["metric"]: entry["center"] for entry in snapshot["estimates"]}
    for name in ("from_due_p50", "from_due_p95", "from_send_p95"):
        assert live[name] == pytest.approx(summary.metrics[name].center, rel=1e-3, abs=1e-6)
    assert sum(second["outcomes"]["ok"] for second in snapshot["newest"]) == run.file.counts["ok"]
    assert [second["second"] for second in state(url, after=10_000)["snapshot"]["newest"]] == [snapshot["time"] - 1]
    page = requests.get(f"{url}/bertbench/report", timeout=300)
    assert page.ok
    assert run.name in page.text
    assert (run.path / "report.html").read_text() == page.text


def test_what_the_routes_refuse(served: tuple[str, Path]) -> None:
    url, _ = served
    assert requests.get(f"{url}/bertbench/figures", params={"after": "x"}, timeout=20).status_code == 400
    script = requests.get(f"{url}/bertbench/tab.js", timeout=20)
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert json.loads(re.search(r"window.bertbench = (\{.*?\})<", requests.get(url, timeout=20).text)[1])["tab"]
