"""The figures of a load generator as OpenTelemetry metrics, sent to a collector by OTLP over HTTP; the extra `otel`.

Counters are those of the Prometheus page. Latencies are gauges of percentiles, since OpenTelemetry's asynchronous
instruments have no histogram and a synchronous one would take a call for each request.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import gevent
import requests
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from bench import __version__
from bench.load.live.live_figures import LiveFigures
from bench.load.live.metric_names import GAUGES, LATENCIES, PHASES, REQUESTS, RUNNING, WRONG_ANSWERS

EVERY_SECONDS: Final = 5.0
_LAST_SECONDS: Final = 10.0
_PATH: Final = "v1/metrics"

logger = logging.getLogger(__name__)

Observations = Iterable[Observation]


class FigureInstruments:
    """Asynchronous instruments that observe the newest figures.

    Args:
        meter: creates them.
    """

    def __init__(self, meter: Meter) -> None:
        self.figures: LiveFigures | None = None
        for metric, observe in ((REQUESTS, self._requests), (WRONG_ANSWERS, self._wrong)):
            meter.create_observable_counter(metric.name, [self._of(observe)], metric.unit, metric.meaning)
        for clock, metric in LATENCIES.items():
            meter.create_observable_gauge(metric.name, [self._latency(clock)], metric.unit, metric.meaning)
        meter.create_observable_gauge(RUNNING.name, [self._of(self._running)], RUNNING.unit, RUNNING.meaning)
        for field, metric in GAUGES.items():
            meter.create_observable_gauge(metric.name, [self._gauge(field)], metric.unit, metric.meaning)

    def _of(self, observe: Callable[[LiveFigures], Observations]) -> Callable[[CallbackOptions], Observations]:
        return lambda _: () if self.figures is None else observe(self.figures)

    def _requests(self, figures: LiveFigures) -> Observations:
        warmup = figures.warmup_requests
        for outcome, count in figures.requests.items():
            for phase, value in zip(PHASES, (warmup[outcome], count - warmup[outcome]), strict=True):
                yield Observation(value, {"outcome": outcome, "phase": phase})

    def _wrong(self, figures: LiveFigures) -> Observations:
        return [Observation(count, {"kind": kind}) for kind, count in figures.wrong_kinds.items()]

    def _running(self, figures: LiveFigures) -> Observations:
        return [Observation(figures.complete)]

    def _latency(self, clock: str) -> Callable[[CallbackOptions], Observations]:
        def observe(figures: LiveFigures) -> Observations:
            for entry in figures.estimates(clock):
                _, _, percentile = entry.metric.rpartition("_")
                if entry.center is not None:
                    yield Observation(entry.center, {"percentile": percentile})

        return self._of(observe)

    def _gauge(self, field: str) -> Callable[[CallbackOptions], Observations]:
        def observe(figures: LiveFigures) -> Observations:
            newest = figures.second(figures.complete - 1) if figures.complete else None
            value = None if newest is None else getattr(newest, field)
            return [] if value is None else [Observation(value)]

        return self._of(observe)


class OtlpExport:
    """Sends the newest figures every few seconds; called with them.

    Args:
        endpoint: the collector's base URL, like http://localhost:4318.
        reader: reads the instruments; None for one that sends to the collector.
    """

    def __init__(self, endpoint: str, reader: MetricReader | None = None) -> None:
        self._endpoint = endpoint
        # Its own messages have tracebacks; `_Exporter` says in one line what cannot be sent.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._session = requests.Session()
        if reader is None:
            exporter = _Exporter(f"{endpoint.rstrip('/')}/{_PATH}", self._session)
            reader = PeriodicExportingMetricReader(exporter, export_interval_millis=1000 * EVERY_SECONDS)
        resource = Resource.create({"service.name": "bertbench", "service.version": __version__})
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._instruments = FigureInstruments(self._provider.get_meter("bertbench", __version__))

    def __call__(self, figures: LiveFigures) -> None:
        """Takes the newest figures."""
        self._instruments.figures = figures

    def linger(self) -> None:
        """Sends the figures so far."""
        with gevent.Timeout(_LAST_SECONDS, False):
            self._provider.force_flush()

    def close(self) -> None:
        """Stops sending."""
        with gevent.Timeout(_LAST_SECONDS, False):
            self._provider.shutdown()
        self._session.close()


class _Exporter(OTLPMetricExporter):
    """Says once, in one line, that nothing can be sent; the run goes on."""

    def __init__(self, endpoint: str, session: requests.Session) -> None:
        super().__init__(endpoint, timeout=int(EVERY_SECONDS), session=session)
        self._failure_logged = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        try:
            result: MetricExportResult = super().export(metrics_data, timeout_millis, **kwargs)
        except requests.RequestException as error:
            result = MetricExportResult.FAILURE
            self._log_once(type(error).__name__)
        else:
            if result is not MetricExportResult.SUCCESS:
                self._log_once("refused")
        return result

    def _log_once(self, why: str) -> None:
        if not self._failure_logged:
            self._failure_logged = True
            logger.warning("cannot send metrics to %s (%s); check --otlp-endpoint", self._endpoint, why)
