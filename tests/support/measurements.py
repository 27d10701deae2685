"""Measurements with given values."""

from bench.capacity.measurements.measured_step import Measurement, Stage
from bench.capacity.queue.latency_table import COLUMNS
from bench.stats.estimate import Estimate


def measurement(
    stage: Stage,
    users: int | None = None,
    rate: float | None = None,
    throughput: float = 100.0,
    p99: float = 0.05,
    errors: float = 0.0,
    wrong: float = 0.0,
    failed: tuple[str, ...] = (),
) -> Measurement:
    """A measurement with this p99; the other columns are half of it."""
    raw = {name: p99 if name == "p99" else p99 / 2 for name in COLUMNS}
    return Measurement(
        stage=stage,
        users=users,
        rate=rate,
        repeat=0,
        seconds=10.0,
        due=1000,
        throughput=Estimate("throughput", throughput, throughput * 0.98, throughput * 1.02, 0.95, 100),
        latency={name: Estimate(name, value, None, None, 0.95, 1) for name, value in raw.items()},
        raw=raw,
        in_flight=4.0,
        little=0.0,
        errors=errors,
        wrong=wrong,
        outcomes={"ok": 1000},
        client_cpu=0.2,
        reasons=failed,
        failed=failed,
        alive=True,
        run="run",
    )
