"""What others can watch of a run: the Prometheus page and OpenTelemetry metrics."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import gevent
import numpy as np
import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from bench.core.errors import UsageError
from bench.load.live.export_addresses import ListenAddress, parse_collector_url, parse_listen_address
from bench.load.live.live_figures import LiveFigures, LivePlan
from bench.load.live.metric_exports import open_exports
from bench.load.live.metric_names import BOUNDS
from bench.load.live.otlp import OtlpExport
from bench.load.live.prometheus_page import PrometheusPage
from bench.results.blocks import OUTCOME_CODES, ROW, WRONG_KIND_CODES
from bench.results.records import Outcome, WrongKind
from bench.results.samples import ClientSample
from tests.support.locust_process import free_port
from tests.support.otlp_collector import otlp_collector


@pytest.fixture
def figures() -> LiveFigures:
    """Of a run of 10 s at 100/s, whose first 2 s are warm-up; every 50th answer is wrong, and 3 requests are open."""
    due = np.arange(1000) / 100
    found = LiveFigures(LivePlan(2.0, 10.0, due), [0])
    rows = np.zeros(997, ROW)
    rows["due"], rows["sent"], rows["done"] = due[:997], due[:997] + 0.0001, due[:997] + 0.0051
    rows["done"][501] += 0.2
    rows["warmup"] = due[:997] < 2
    rows["outcome"][::50] = OUTCOME_CODES[Outcome.WRONG_ANSWER]
    rows["wrong_kind"][::50] = WRONG_KIND_CODES[WrongKind.SWAP]
    found.add_block(rows)
    found.add_sample(ClientSample(time=10.0, worker=0, in_flight=2.0, waiting=1.0, users=8.0))
    return found


@pytest.fixture
def page() -> Iterator[PrometheusPage]:
    found = PrometheusPage(ListenAddress("127.0.0.1", free_port()))
    yield found
    found.close()


def scraped(page: PrometheusPage) -> dict[str, dict[tuple[str, ...], float]]:
    """The samples of the page by name and label values, by the official parser."""
    with socket.create_connection(("127.0.0.1", page.port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\nAccept: text/plain\r\n\r\n")
        data = b""
        while True:
            gevent.sleep(0.005)
            connection.settimeout(5)
            more = gevent.get_hub().threadpool.apply(connection.recv, (1 << 16,))
            if not more:
                break
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_the_page_has_the_figures(figures: LiveFigures, page: PrometheusPage) -> None:
    assert scraped(page) == {}
    page(figures)
    found = scraped(page)
    requests = found["bertbench_requests_total"]
    assert requests[("ok", "measured")] == 781
    assert requests[("ok", "warmup")] == 196
    assert requests[("wrong_answer", "measured")] == 16
    assert sum(requests.values()) == sum(figures.requests.values()) == 997
    assert found["bertbench_wrong_answers_total"][("swap",)] == 20
    buckets = found["bertbench_latency_from_due_seconds_bucket"]
    assert buckets[("0.005",)] == 0
    assert buckets[("0.007",)] == 780
    assert buckets[("0.3",)] == buckets[("+Inf",)] == found["bertbench_latency_from_due_seconds_count"][()] == 781
    assert found["bertbench_latency_from_due_seconds_sum"][()] == pytest.approx(781 * 0.0051 + 0.2, rel=1e-3)
    assert found["bertbench_start_delay_seconds_count"][()] == 797
    gauges = {name.removeprefix("bertbench_"): found[name][()] for name in found if () in found[name]}
    assert gauges["open_requests"] == 3
    assert (gauges["in_flight_requests"], gauges["waiting_requests"], gauges["users"]) == (2, 1, 8)
    assert gauges["run_time_seconds"] == 10


def test_bounds_of_buckets_are_ascending() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert (BOUNDS[0], BOUNDS[-1]) == (0.0001, 70.0)


def test_a_last_scrape_is_waited_for(figures: LiveFigures, page: PrometheusPage) -> None:
    page(figures)
    started = time.monotonic()
    page.linger()
    scraped(page)
    page.linger()
    assert time.monotonic() - started < 5
    gevent.sleep(0.3)
    scraped(page)
    waiting = gevent.spawn(page.linger)
    gevent.sleep(0.1)
    assert not waiting.ready()
    scraped(page)
    waiting.join(5)
    assert waiting.ready()


def test_a_port_that_is_taken(page: PrometheusPage) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(
        UsageError, match=r"--metrics-port: cannot listen on 127.0.0.1:\d+ \(Address already in use\)"
    ) as caught:
        PrometheusPage(ListenAddress("127.0.0.1", page.port))
    # No socket is left to the garbage collector, which the error keeps off.
    assert set(os.listdir("/proc/self/fd")) == before, caught


ADDRESSES = {
    "9464": "127.0.0.1:9464",
    "0.0.0.0:9464": "0.0.0.0:9464",
    "[::]:9464": "[::]:9464",
    "bench-1:80": "bench-1:80",
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text: str) -> None:
    assert str(parse_listen_address(text)) == ADDRESSES[text]


@pytest.mark.parametrize("text", ["", "x", ":", "host:", "-1", "70000", "0", "1.5", "a b:80", "http://x:80"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        parse_listen_address(text)


@pytest.mark.parametrize("text", ["http://localhost:4318", "https://collector", "http://[::1]:4318/base/"])
def test_collectors(text: str) -> None:
    assert parse_collector_url(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "collector:4318",
        "grpc://collector:4317",
        "http://",
        "http://[::1",
        "http://h:port",
        "http://h:70000",
        "http://h:0",
        "http://h:1 ",
        "http://h\n:1",
    ],
)
def test_what_is_no_collector(text: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of a collector; write it like http://localhost:4318"):
        parse_collector_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://bench:planted@collector:4318",
        "bench:planted@collector",
        "https://bench:pl/planted@collector",
        "https://collector/?token=planted",
        "https://collector/#planted",
        "http://planted@[::1",
    ],
)
def test_a_password_for_a_collector_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="give credentials in the variable OTEL_EXPORTER_OTLP_HEADERS") as caught:
        parse_collector_url(text)
    assert "planted" not in str(caught.value)


def points(reader: InMemoryMetricReader) -> dict[str, dict[tuple[Any, ...], float]]:
    data: Any = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: {tuple(point.attributes.values()): point.value for point in metric.data.data_points}
        for scope in data.resource_metrics[0].scope_metrics
        for metric in scope.metrics
    }


def test_open_telemetry_has_the_same_counts(figures: LiveFigures) -> None:
    reader = InMemoryMetricReader()
    export = OtlpExport("http://unused", reader)
    assert points(reader).get("bertbench.requests", {}) == {}
    export(figures)
    found = points(reader)
    assert found["bertbench.requests"][("ok", "measured")] == 781
    assert sum(found["bertbench.requests"].values()) == sum(figures.requests.values())
    assert found["bertbench.wrong_answers"][("swap",)] == 20
    assert found["bertbench.latency_from_due"][("p50",)] == pytest.approx(0.0051, rel=1e-3)
    assert found["bertbench.open_requests"][()] == 3
    assert found["bertbench.run_time"][()] == 10
    export.close()


def test_a_collector_gets_the_last_figures(figures: LiveFigures) -> None:
    with otlp_collector() as (url, collected):
        export = OtlpExport(url)
        export(figures)
        gevent.get_hub().threadpool.apply(export.linger)
        export.close()
    assert collected.messages >= 1
    assert collected.service == "bertbench"
    assert collected.total("bertbench.requests") == 997
    assert collected.total("bertbench.requests", outcome="ok", phase="warmup") == 196


@pytest.mark.parametrize(("url", "why"), [(None, "ConnectionError"), ("refusing", "refused")])
def test_a_collector_that_does_not_take_them_is_told_once(
    figures: LiveFigures, url: str | None, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    with otlp_collector(status=400) as (refusing, _), caplog.at_level(logging.WARNING):
        export = OtlpExport(refusing if url else f"http://127.0.0.1:{free_port()}")
        export(figures)
        export.linger()
        export.linger()
        export.close()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert why in lines[0]
    assert lines[0].endswith("check --otlp-endpoint")


def test_nothing_is_opened_that_is_not_asked_for() -> None:
    assert open_exports(None, None) == []


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.core.extras.installed", lambda package: False)
    with pytest.raises(UsageError, match=r"--otlp-endpoint needs opentelemetry.*pip install 'bertbench\[otel\]'"):
        open_exports(None, "http://localhost:4318")
