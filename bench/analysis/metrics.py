"""The figures of a run: their names, units, and which way is better."""

from dataclasses import dataclass
from typing import Final

PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
CLOCKS: Final = {"from_due": "latency from due", "from_send": "latency from send"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure.

    Args:
        name: in files: `from_due_p99`.
        title: for people.
        unit: `s`, `1/s`, `B`, `cores`, `share`, or "" for a count.
        better: `lower`, `higher`, or None where neither is.
    """

    name: str
    title: str
    unit: str
    better: str | None = None


def _latencies() -> list[Metric]:
    found = []
    for clock, title in CLOCKS.items():
        found += [Metric(f"{clock}_{name}", f"{title}, {name}", "s", "lower") for name in PERCENTILES]
        found += [Metric(f"{clock}_{name}", f"{title}, {name}", "s", "lower") for name in ("mean", "max")]
    return found


METRICS: Final = {
    metric.name: metric
    for metric in [
        Metric("throughput", "successful requests/s", "1/s", "higher"),
        Metric("sentence_rate", "sentences scored a second", "1/s", "higher"),
        Metric("word_rate", "words scored a second", "1/s", "higher"),
        Metric("sent_rate", "requests sent a second", "1/s"),
        Metric("error_share", "failed requests", "share", "lower"),
        Metric("wrong_share", "checked answers that were wrong", "share", "lower"),
        Metric("dropped_share", "requests never sent", "share", "lower"),
        *_latencies(),
        Metric("start_delay_p50", "sent after due, p50", "s"),
        Metric("start_delay_p99", "sent after due, p99", "s"),
        Metric("in_flight", "requests in flight, mean", ""),
        Metric("users", "users, mean", ""),
        Metric("client_build", "client: building a request, mean", "s"),
        Metric("client_parse", "client: parsing and checking an answer, mean", "s"),
        Metric("bytes_out", "request body, mean", "B"),
        Metric("bytes_in", "answer body, mean", "B"),
        Metric("server_request", "server: whole request, mean", "s", "lower"),
        Metric("server_runtime", "server: model runtime, mean", "s", "lower"),
        Metric("server_queue", "server: waiting for a batch, mean", "s", "lower"),
        Metric("server_batch_rows", "server: rows in a batch, mean", ""),
        Metric("server_cpu", "server: processor use, mean", "cores", "lower"),
        Metric("server_cpu_per_request", "server: processor time a good answer", "s", "lower"),
        Metric("server_memory", "server: resident memory, most", "B", "lower"),
        Metric("server_gpu", "server: GPU use, mean", "share"),
        Metric("server_gpu_memory", "server: GPU memory, most", "B", "lower"),
        Metric("client_cpu", "client: processor use of the busiest worker, mean", "cores"),
        Metric("client_memory", "client: resident memory of the largest worker", "B"),
    ]
}
"""By name, in the order in which they are shown."""
