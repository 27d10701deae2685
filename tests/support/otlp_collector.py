"""An OpenTelemetry collector for tests: takes metrics by OTLP over HTTP and keeps the newest."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

Labels = tuple[tuple[str, str], ...]


class Collected:
    """What was sent: the newest value of each metric by its labels, and the number of messages."""

    def __init__(self) -> None:
        self.values: dict[str, dict[Labels, float]] = {}
        self.messages = 0
        self.service = ""

    def take(self, body: bytes) -> None:
        """Takes a message."""
        message: Any = ExportMetricsServiceRequest.FromString(body)
        self.messages += 1
        for resource in message.resource_metrics:
            self.service = next(
                (entry.value.string_value for entry in resource.resource.attributes if entry.key == "service.name"), ""
            )
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data = metric.sum if metric.HasField("sum") else metric.gauge
                    self.values[metric.name] = {
                        tuple(sorted((entry.key, entry.value.string_value) for entry in point.attributes)): (
                            point.as_int if point.HasField("as_int") else point.as_double
                        )
                        for point in data.data_points
                    }

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over all points with these labels."""
        wanted = set(labels.items())
        return sum(value for found, value in self.values[name].items() if wanted <= set(found))


@contextlib.contextmanager
def otlp_collector(status: int = 200) -> Iterator[tuple[str, Collected]]:
    """A collector on this machine: its URL, and what it got."""
    collected = Collected()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/metrics" and status == 200:
                collected.take(body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", collected
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
