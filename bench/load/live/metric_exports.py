"""What others can watch of a load generator: a Prometheus page, OpenTelemetry metrics."""

from typing import Protocol

from bench.core.extras import require
from bench.load.live.export_addresses import ListenAddress
from bench.load.live.live_figures import LiveFigures


class Export(Protocol):
    """One of them, for all runs of a process."""

    def __call__(self, figures: LiveFigures) -> None:
        """Takes the newest figures."""

    def linger(self) -> None:
        """Waits until others have the figures so far."""

    def close(self) -> None:
        """Ends it."""


def open_exports(metrics: ListenAddress | None, otlp: str | None) -> list[Export]:
    """The exports that are asked for.

    Args:
        metrics: where the Prometheus page listens; None for none.
        otlp: base URL of an OpenTelemetry collector; None for none.

    Raises:
        UsageError: the page cannot listen there, or the extra `otel` is not installed.
    """
    found: list[Export] = []
    if otlp is not None:
        require("opentelemetry", "--otlp-endpoint")
        # Imported here: most runs need neither.
        from bench.load.live.otlp import OtlpExport

        found.append(OtlpExport(otlp))
    if metrics is not None:
        from bench.load.live.prometheus_page import PrometheusPage

        found.append(PrometheusPage(metrics))
    return found
