"""The metrics that others can watch: their names, units and meanings, for Prometheus and for OpenTelemetry."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ExportedMetric:
    """One metric.

    Args:
        name: in OpenTelemetry; Prometheus has underscores for dots, and adds the unit and `total` of a counter.
        unit: `s`, or in braces what is counted.
        meaning: for people.
        labels: names of its labels.
    """

    name: str
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()

    @property
    def prometheus(self) -> str:
        """Its name on the Prometheus page, without `_total`, `_bucket`, `_sum` and `_count`."""
        return self.name.replace(".", "_") + ("_seconds" if self.unit == "s" else "")


REQUESTS: Final = ExportedMetric(
    "bertbench.requests", "{request}", "Requests that have ended, by outcome and phase.", ("outcome", "phase")
)
WRONG_ANSWERS: Final = ExportedMetric(
    "bertbench.wrong_answers", "{answer}", "Wrong answers, by kind, those of the warm-up too.", ("kind",)
)
LATENCIES: Final = {
    "from_due": ExportedMetric(
        "bertbench.latency_from_due", "s", "Latency of successful measured requests, from when they were due."
    ),
    "from_send": ExportedMetric(
        "bertbench.latency_from_send", "s", "Latency of successful measured requests, from when they were sent."
    ),
    "start_delay": ExportedMetric("bertbench.start_delay", "s", "Delay of measured requests, from due to send."),
}
OPEN: Final = ExportedMetric("bertbench.open_requests", "{request}", "Requests due and not ended; open loop only.")
IN_FLIGHT: Final = ExportedMetric("bertbench.in_flight_requests", "{request}", "Requests sent and not ended.")
WAITING: Final = ExportedMetric("bertbench.waiting_requests", "{request}", "Requests due and not sent.")
USERS: Final = ExportedMetric("bertbench.users", "{user}", "Users: the most requests in flight.")
RUNNING: Final = ExportedMetric("bertbench.run_time", "s", "Complete seconds of the run, warm-up included.")

GAUGES: Final = {"open": OPEN, "in_flight": IN_FLIGHT, "waiting": WAITING, "users": USERS}
"""By the fields of `bench.load.live.snapshot.SecondFigures`."""

PHASES: Final = ("warmup", "measured")

BOUNDS: Final = tuple(float(f"{factor}e{power}") for power in range(-4, 2) for factor in (1, 1.5, 2, 3, 5, 7))
"""Upper bounds of the Prometheus histograms' buckets, seconds: 0.1 ms to 70 s."""
