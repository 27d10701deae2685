"""A distributed run that others watch: Prometheus and a collector."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.load.live.metric_names import GAUGES, LATENCIES, REQUESTS, RUNNING, WRONG_ANSWERS
from tests.support.debian import unpacked
from tests.support.locust_process import ROOT, free_port, started, wait_for
from tests.support.otlp_collector import otlp_collector
from tests.support.queue_server import queue_server
from tests.support.toy_golden import write_model_dir

DASHBOARD = json.loads((ROOT / "docs/grafana/bertbench.json").read_text())
Totals = dict[str, float]


@contextlib.contextmanager
def prometheus(folder: Path, port: int) -> Iterator[str]:
    """Debian's Prometheus, unpacked, which scrapes the load generator each second: its URL."""
    own, package = free_port(), unpacked("prometheus", folder / "package")
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\nscrape_configs:\n"
        f"  - {{job_name: bertbench, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}\n"
    )
    words = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    with subprocess.Popen(
        [str(package / "usr" / "bin" / "prometheus"), *words, f"--web.listen-address=127.0.0.1:{own}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            wait_for(lambda: reached(f"http://127.0.0.1:{own}/-/ready"))
            yield f"http://127.0.0.1:{own}"
        finally:
            child.terminate()


def reached(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def asked(url: str, query: str) -> list[Any]:
    """What Prometheus answers to an instant query."""
    reply = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=20).json()
    assert reply["status"] == "success", (query, reply)
    found: list[Any] = reply["data"]["result"]
    return found


def stored_totals(url: str) -> Totals:
    """The requests by outcome that Prometheus saw last, also of a load generator that has ended."""
    found = asked(url, "sum by (outcome) (max_over_time(bertbench_requests_total[10m]))")
    return {entry["metric"]["outcome"]: float(entry["value"][1]) for entry in found}


def test_counts_of_a_run_as_others_see_them(tmp_path: Path) -> None:
    model_dir, port = write_model_dir(tmp_path / "model"), free_port()
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(queue_server(model_dir, servers=4, mean=0.01, errors=0.02, wrong=0.02))
        collector, collected = stack.enter_context(otlp_collector())
        url = stack.enter_context(prometheus(tmp_path, port))

        def look() -> Totals:
            return stored_totals(url)

        words = ["--host", host, "--model-dir", str(model_dir), "--results", str(tmp_path / "runs")]
        words += ["-u", "16", "-t", "8s", "--warmup", "2s", "--arrivals", "poisson:rate=50", "--processes", "2"]
        words += ["--metrics-port", str(port), "--otlp-endpoint", collector]
        queries = {query.replace("$__rate_interval", "10s") for query in dashboard_queries()}
        answered: set[str] = set()
        with started("rest.py", "--headless", "--only-summary", *words) as process:
            seen = [dict(wait_for(lambda: sum(look().values()) > 0 and look()))]
            while process.poll() is None:
                seen.append(dict(look()))
                answered |= {query for query in queries - answered if asked(url, query)}
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.3)
            out = process.stdout.read()
        assert process.returncode == 1, out
        (file,) = (tmp_path / "runs").glob("*/run.json")
        counts = json.loads(file.read_text())["counts"]
        assert counts["wrong_answer"] > 0
        assert counts["unavailable"] > 0
        assert {name: count for name, count in look().items() if count} == {k: v for k, v in counts.items() if v}
        assert sum(seen[0].values()) < sum(counts.values())
        for outcome, count in counts.items():
            assert collected.total(REQUESTS.name, outcome=outcome) == count
        assert collected.total(WRONG_ANSWERS.name) == counts["wrong_answer"]
        assert collected.messages >= 2
        assert answered == queries


def dashboard_queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("query", dashboard_queries())
def test_the_dashboard_asks_for_metrics_that_exist(query: str) -> None:
    known = {f"{REQUESTS.prometheus}_total", f"{WRONG_ANSWERS.prometheus}_total", RUNNING.prometheus}
    known |= {metric.prometheus for metric in GAUGES.values()}
    known |= {f"{metric.prometheus}_bucket" for metric in LATENCIES.values()}
    named = set(re.findall(r"\bbertbench_\w+", query))
    assert named
    assert named <= known
    assert query.count("(") == query.count(")")
    labels = set(re.findall(r"by \((\w+)\)", query)) | set(re.findall(r"\{(\w+)", query))
    assert labels <= {"le", *REQUESTS.labels, *WRONG_ANSWERS.labels}
