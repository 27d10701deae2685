"""What a scenario is, and the scenarios that `scenarios/` and `bertbench run` share. Loads nothing of Locust."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bench
from bench.core.types import checked_fields


@dataclass(frozen=True, slots=True, kw_only=True)
@checked_fields
class SampleRule:
    """The sample size that a benchmark's rules require.

    Args:
        source: name of the rule.
        requests: least number of measured requests, or of sentences if `per_sentence`.
        seconds: least measured time.
        per_sentence: whether `requests` counts sentences.
    """

    source: str
    requests: int
    seconds: float
    per_sentence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A workload and its defaults; an option given by the user wins.

    Args:
        name: short name, for run folders.
        protocol: `rest`, `grpc` or `both`.
        arrivals: when requests are due; plain `closed` takes Locust's users.
        users: size of the pool, the most requests in flight.
        run_time: how long load runs, warm-up included.
        sentences: sentences per request.
        options: defaults of other options, by the names in `bench.load.locust_adapter.options.OPTIONS`.
        rule: the sample size that it requires; a smaller one is a warning.
    """

    name: str
    protocol: str
    arrivals: str = "closed"
    users: int = 8
    run_time: str = "60s"
    sentences: int = 1
    options: Mapping[str, str] = field(default_factory=dict)
    rule: SampleRule | None = None


# MLPerf Inference's runs last ten minutes; the warm-up comes before them.
_MLPERF_RUN_TIME: Final = "610s"
_MLPERF_SECONDS: Final = 600.0
_ALL: Final = (
    Scenario(name="rest", protocol="rest"),
    Scenario(name="grpc", protocol="grpc"),
    Scenario(name="compare", protocol="both", arrivals="poisson:rate=10", users=32, run_time="2m"),
    Scenario(
        name="ramp",
        protocol="rest",
        arrivals="ramp:from=2,to=40",
        users=128,
        run_time="3m",
        # A ramp begins with a low rate, which needs no warm-up.
        options={"warmup": "0", "drain": "30s"},
    ),
    Scenario(
        name="spike",
        protocol="rest",
        arrivals="burst:base=5,peak=60,every=20s,length=2s",
        users=128,
        run_time="2m",
        options={"warmup": "0", "drain": "30s"},
    ),
    Scenario(
        name="soak",
        protocol="rest",
        arrivals="poisson:rate=10",
        users=64,
        run_time="30m",
        # A tenth of hours of answers suffices to check the server's state.
        options={"check_share": "10%"},
    ),
    Scenario(
        name="single-stream",
        protocol="grpc",
        arrivals="closed",
        users=1,
        run_time=_MLPERF_RUN_TIME,
        rule=SampleRule(source="MLPerf's SingleStream", requests=1024, seconds=_MLPERF_SECONDS),
    ),
    Scenario(
        name="multi-stream",
        protocol="grpc",
        arrivals="closed",
        users=1,
        run_time=_MLPERF_RUN_TIME,
        sentences=8,
        rule=SampleRule(source="MLPerf's MultiStream", requests=662, seconds=_MLPERF_SECONDS),
    ),
    Scenario(
        name="server",
        protocol="grpc",
        arrivals="poisson:rate=20",
        users=256,
        run_time=_MLPERF_RUN_TIME,
        rule=SampleRule(source="MLPerf's Server", requests=270_336, seconds=_MLPERF_SECONDS),
    ),
    Scenario(
        name="offline",
        protocol="grpc",
        arrivals="closed",
        users=8,
        run_time=_MLPERF_RUN_TIME,
        sentences=16,
        options={"request_timeout": "5m"},
        rule=SampleRule(source="MLPerf's Offline", requests=24_576, seconds=_MLPERF_SECONDS, per_sentence=True),
    ),
)

SCENARIOS: Final[Mapping[str, Scenario]] = {scenario.name: scenario for scenario in _ALL}
"""By name, in the order of the catalog."""

FILES: Final[Mapping[str, str]] = {name: f"{name.replace('-', '_')}.py" for name in SCENARIOS} | {"grpc": "grpc_api.py"}
"""By scenario: its file in `scenarios/`."""


def scenario_path(name: str) -> Path:
    """The file of one of `SCENARIOS`, in the installed package."""
    return Path(bench.__file__).parent / "scenarios" / FILES[name]
