"""The Prometheus page of a load generator: the figures of its run, for as long as the process lives.

A scrape renders the page in the process that may be sending; it takes some milliseconds.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import gevent.socket
import numpy as np
from gevent.event import Event
from gevent.pywsgi import WSGIServer
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bench.core.errors import UsageError
from bench.load.live.export_addresses import ListenAddress
from bench.load.live.live_figures import LiveFigures
from bench.load.live.metric_names import BOUNDS, GAUGES, LATENCIES, PHASES, REQUESTS, RUNNING, WRONG_ANSWERS

_BOUNDS: Final = np.array(BOUNDS)
_BACKLOG: Final = 16
_LABELS: Final = tuple(map(repr, BOUNDS))
LINGER_SECONDS: Final = 60.0
"""Longest wait for a last scrape."""


class FiguresCollector(Collector):
    """Renders the newest figures at each scrape; no metric before the first run."""

    def __init__(self) -> None:
        self.figures: LiveFigures | None = None

    def collect(self) -> Iterable[Metric]:
        """The metrics of `bench.load.live.metric_names`."""
        return iter(()) if self.figures is None else _metrics(self.figures)


def _metrics(figures: LiveFigures) -> Iterator[Metric]:
    requests = CounterMetricFamily(REQUESTS.prometheus, REQUESTS.meaning, labels=REQUESTS.labels)
    warmup = figures.warmup_requests
    for outcome, count in figures.requests.items():
        for phase, value in zip(PHASES, (warmup[outcome], count - warmup[outcome]), strict=True):
            requests.add_metric((outcome, phase), value)
    yield requests
    wrong = CounterMetricFamily(WRONG_ANSWERS.prometheus, WRONG_ANSWERS.meaning, labels=WRONG_ANSWERS.labels)
    for kind, count in figures.wrong_kinds.items():
        wrong.add_metric((kind,), count)
    yield wrong
    for clock, metric in LATENCIES.items():
        histogram = HistogramMetricFamily(metric.prometheus, metric.meaning)
        latencies = figures.latencies(clock)
        counts = list(zip(_LABELS, latencies.below(_BOUNDS).tolist(), strict=True))
        histogram.add_metric((), [*counts, ("+Inf", float(latencies.total))], latencies.sum)
        yield histogram
    complete = figures.complete
    yield GaugeMetricFamily(RUNNING.prometheus, RUNNING.meaning, value=complete)
    newest = figures.second(complete - 1) if complete else None
    for field, metric in GAUGES.items():
        gauge: float | None = None if newest is None else getattr(newest, field)
        if gauge is not None:
            yield GaugeMetricFamily(metric.prometheus, metric.meaning, value=gauge)


def _listening(address: ListenAddress) -> Any:
    """A socket that listens at the address; gevent's server would leave one that cannot open.

    Raises:
        UsageError: it cannot listen there.
    """
    listener = gevent.socket.socket(gevent.socket.AF_INET6 if ":" in address.host else gevent.socket.AF_INET)
    try:
        listener.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"--metrics-port: cannot listen on {address} ({os.strerror(error.errno or 0)}); give another port"
        ) from error
    return listener


class PrometheusPage:
    """Serves the page; called with the newest figures.

    Args:
        address: where it listens.

    Raises:
        UsageError: it cannot listen there.
    """

    def __init__(self, address: ListenAddress) -> None:
        self._collector = FiguresCollector()
        registry = CollectorRegistry()
        registry.register(self._collector)
        self._app = make_wsgi_app(registry)
        self._scraped = Event()
        self._scrapes: list[float] = []
        self._server = WSGIServer(_listening(address), self._answer, log=None)
        self._server.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_port)

    def __call__(self, figures: LiveFigures) -> None:
        """Takes the newest figures."""
        self._collector.figures = figures

    def linger(self) -> None:
        """Waits until the figures so far have been scraped, if somebody scrapes regularly: twice the last interval."""
        if len(self._scrapes) < 2:
            return
        self._scraped = Event()
        self._scraped.wait(min(2 * (self._scrapes[-1] - self._scrapes[-2]), LINGER_SECONDS))

    def close(self) -> None:
        """Stops listening."""
        self._server.stop(timeout=1)

    def _answer(self, environ: Any, start_response: Callable[..., Any]) -> Any:
        found = self._app(environ, start_response)
        self._scrapes = [*self._scrapes[-1:], time.monotonic()]
        # After the answer was written.
        gevent.spawn_later(0.05, self._scraped.set)
        return found
