"""Options of `bertbench capacity` that consist of several values."""

import argparse

import pytest

from bench.capacity.cli.simulate import _autoscaling, _incidents
from bench.capacity.experiment.batching import read_batching
from bench.core.errors import UsageError


def words(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"fail": [], "slow": [], "rolling": None, "noticed": "1s", "replicas": 3, **given})


@pytest.mark.parametrize(
    "text",
    ["largest=²,timeout=1ms,threads=2", "largest=0,timeout=1ms,threads=2", "largest=8,timeout=1,threads=2", "on"],
)
def test_malformed_batching_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        read_batching(text)


@pytest.mark.parametrize("timeout", ["0", "0s", "0ms"])
def test_a_batching_timeout_of_0(timeout: str) -> None:
    batching, threads = read_batching(f"largest=8,timeout={timeout},threads=2")
    assert batching is not None
    assert (batching.timeout, threads) == (0.0, 2)


@pytest.mark.parametrize(
    "text", ["60%,90s", "0%,90s,2,20", "60%,90,2,20", "60%,90s,²,20", "60%,90s,9,2", "60,90s,2,20"]
)
def test_malformed_autoscaling_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="write it like 60%,90s,2,20"):
        _autoscaling(words(autoscale=text), 600.0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"fail": ["0@60"]}, "--fail: '60' is a duration without a unit; .*; write it like 0@60s-90s"),
        ({"fail": ["0@5s", "0"]}, "--fail: '0' does not name a replica and a time; write it like"),
        ({"fail": ["9@60s"]}, "--fail: no replica 9 among 3"),
        ({"fail": ["0@60s-30s"]}, "--fail: '0@60s-30s' recovers before it fails"),
        ({"slow": ["0x0@60s"]}, "--slow: 0 is out of range; .*; write it like 0x3@60s"),
        ({"slow": ["0xnan@60s"]}, "--slow: 'nan' is not a number"),
        ({"slow": ["0x1.2.3@60s"]}, "--slow: '1.2.3' is not a number"),
        ({"slow": ["0x3@60"]}, "--slow: '60' is a duration without a unit"),
        ({"rolling": "60s,5s"}, "--rolling: '60s,5s' has 2 values, not 3; write it like 60s,5s,20s"),
        ({"rolling": "60,5,20"}, "--rolling: '60' is a duration without a unit"),
    ],
)
def test_malformed_incidents_are_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        _incidents(words(**given))


def test_incidents() -> None:
    found = _incidents(words(fail=["0@60s-90s", "1@0"], slow=["2x1.5@0s"], rolling="60s,5s,20s"))
    assert len(found) == 4
