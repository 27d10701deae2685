"""The metrics of a run: their names, units, and which direction is better."""

from dataclasses import dataclass
from typing import Final, Literal

from bench.stats.percentiles import PERCENTILES

OF_REQUESTS: Final = ("error_share", "wrong_share", "dropped_share")
"""Shares that are proportions of requests, whose number bounds them."""
CEILING_FRACTION: Final = 0.8
"""Fraction of the load generator's measured ceiling above which a run has a warning."""
CLOCKS: Final = {"from_due": "latency from due", "from_send": "latency from send"}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Args:
        name: in files: `from_due_p99`.
        title: for people.
        unit: `s`, `1/s`, `B`, `cores`, `share`, `W`, `J`, or "" for a count.
        better: `lower`, `higher`, or None where neither is.
    """

    name: str
    title: str
    unit: str
    better: Literal["lower", "higher"] | None = None


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
        Metric("sentence_rate", "sentences/s", "1/s", "higher"),
        Metric("word_rate", "words/s", "1/s", "higher"),
        Metric("sent_rate", "sent requests/s", "1/s"),
        Metric("error_share", "failed requests", "share", "lower"),
        Metric("wrong_share", "wrong answers of those checked", "share", "lower"),
        Metric("dropped_share", "requests never sent", "share", "lower"),
        *_latencies(),
        Metric("start_delay_p50", "start delay, p50", "s"),
        Metric("start_delay_p99", "start delay, p99", "s"),
        Metric("in_flight", "requests in flight, mean", ""),
        Metric("users", "users, mean", ""),
        Metric("client_build", "client: request construction, mean", "s"),
        Metric("client_parse", "client: response parsing and check, mean", "s"),
        Metric("bytes_out", "request size, mean", "B"),
        Metric("bytes_in", "response size, mean", "B"),
        Metric("server_request", "server: request time, mean", "s", "lower"),
        Metric("server_runtime", "server: session, batch queueing included, mean", "s", "lower"),
        Metric("server_queue", "server: batch queueing delay, mean", "s", "lower"),
        Metric("server_batch_rows", "server: batch size in rows, mean", ""),
        Metric("server_cpu", "server: CPU utilization, mean", "cores", "lower"),
        Metric("server_cpu_per_request", "server: CPU time per successful request", "s", "lower"),
        Metric("server_memory", "server: resident memory, peak", "B", "lower"),
        Metric("server_gpu", "server: GPU utilization, mean", "share"),
        Metric("server_gpu_memory", "server: GPU memory, peak", "B", "lower"),
        Metric("server_gpu_power", "server: GPU power, mean", "W", "lower"),
        Metric("server_gpu_energy", "server: GPU energy per sentence", "J", "lower"),
        Metric("client_cpu", "client: CPU utilization of the busiest worker, mean", "cores"),
        Metric("client_memory", "client: resident memory of the largest worker, peak", "B"),
    ]
}
"""By name, in the order in which they are shown."""
