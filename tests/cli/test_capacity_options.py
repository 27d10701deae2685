"""Texts of `bertbench capacity` that hold several numbers: each is checked, none is guessed."""

import argparse

import pytest

from bench.cli.capacity_batching import read_batching
from bench.cli.capacity_simulate import _autoscaling, _incidents
from bench.errors import UsageError


def words(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"fail": [], "slow": [], "rolling": None, "noticed": "1s", "replicas": 3, **given})


@pytest.mark.parametrize(
    "text",
    ["largest=²,timeout=1ms,threads=2", "largest=0,timeout=1ms,threads=2", "largest=8,timeout=1,threads=2", "on"],
)
def test_batching_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError):
        read_batching(text)


@pytest.mark.parametrize("timeout", ["0", "0s", "0ms"])
def test_batches_that_wait_for_nobody(timeout: str) -> None:
    batching, threads = read_batching(f"largest=8,timeout={timeout},threads=2")
    assert batching is not None
    assert (batching.timeout, threads) == (0.0, 2)


@pytest.mark.parametrize(
    "text", ["60%,90s", "0%,90s,2,20", "60%,90,2,20", "60%,90s,²,20", "60%,90s,9,2", "60,90s,2,20"]
)
def test_autoscaling_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match="write it like 60%,90s,2,20"):
        _autoscaling(words(autoscale=text), 600.0)


@pytest.mark.parametrize(
    "given",
    [
        {"fail": ["0@60"]},
        {"fail": ["9@60s"]},
        {"fail": ["0@60s-30s"]},
        {"slow": ["0x0@60s"]},
        {"slow": ["0xnan@60s"]},
        {"slow": ["0x3@60"]},
        {"rolling": "60s,5s"},
        {"rolling": "60,5,20"},
    ],
)
def test_incidents_that_cannot_be_read(given: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        _incidents(words(**given))
