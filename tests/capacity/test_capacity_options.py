"""Options of `bertbench capacity` that consist of several values."""

import argparse
from pathlib import Path

import pytest

from bench.capacity.cli.simulate import _autoscaling, _incidents, _load
from bench.capacity.experiment.batching import read_batching
from bench.core.errors import UsageError


def words(**given: object) -> argparse.Namespace:
    options = {"fail": [], "slow": [], "rolling": None, "noticed": "1s", "replicas": 3, **given}
    return argparse.Namespace(**options, given=frozenset(given))


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
    with pytest.raises(UsageError, match="^--autoscale: [^;]*; [^;]*$"):
        _autoscaling(words(autoscale=text), 600.0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"fail": ["0@60"]}, "--fail: '60' is a duration without a unit; write it like 0@60s-90s"),
        ({"fail": ["0@5s", "0"]}, "--fail: '0' does not name a replica and a time; write it like"),
        ({"fail": ["9@60s"]}, "--fail: no replica 9 among 3"),
        ({"fail": ["0@60s-30s"]}, "--fail: '0@60s-30s' recovers before it fails"),
        ({"slow": ["0x0@60s"]}, "--slow: 0 is out of range; give a number above 0 and up to 1,000$"),
        ({"slow": ["0xnan@60s"]}, "--slow: 'nan' is not a number"),
        ({"slow": ["0x1.2.3@60s"]}, "--slow: '1.2.3' is not a number"),
        ({"slow": ["0x3@60"]}, "--slow: '60' is a duration without a unit"),
        ({"rolling": "60s,5s"}, "--rolling: '60s,5s' has 2 values, not 3; write it like 60s,5s,20s"),
        ({"rolling": "1s,1s,0s"}, "^--rolling: a duration must be above zero, not '0s'; write it like 60s,5s,20s$"),
        (
            {"fail": ["0@600s-630s"]},
            "^--fail: '0@600s-630s' begins after the end, at 10 m 00 s; give an earlier time or",
        ),
        ({"slow": ["0x2@11m"]}, "--slow: '0x2@11m' begins after the end, at 10 m 00 s; give an earlier time or"),
        ({"rolling": "11m,5s,20s"}, "--rolling: '11m,5s,20s' begins after the end, at 10 m 00 s; give an earlier time"),
        ({"rolling": "60,5,20"}, "--rolling: '60' is a duration without a unit"),
    ],
)
def test_malformed_incidents_are_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        _incidents(words(**given), 600.0)


def test_incidents() -> None:
    found = _incidents(words(fail=["0@60s-90s", "1@0"], slow=["2x1.5@0s"], rolling="60s,5s,20s"), 600.0)
    assert len(found) == 4


def load_words(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**{"rate": "100/s", "duration": None, "diurnal": None, "seed": 1, **given})


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A day whose highest rate, four times the other, lasts an hour."""
    path = tmp_path / "day.csv"
    path.write_text("time,rate\n0,10\n23,40\n")
    return path


def test_a_day_takes_its_own_time(day: Path) -> None:
    load = _load(load_words(rate="40/s", diurnal=day))
    assert (load.seconds, load.text) == (86_400, "10/s to 40/s over the day of 24 h 00 m")
    # The day's own requests, not the highest rate all day.
    assert load.arrivals.size == pytest.approx(86_400 * (23 * 10 + 40) / 24, rel=0.01)


def test_a_shortened_day_says_so(day: Path) -> None:
    load = _load(load_words(diurnal=day, duration="10s"))
    assert load.text == "25/s to 100/s over the day of 24 h 00 m, shortened to 10 s"
    assert load.day is not None
    assert (load.day.seconds, load.day.lowest, load.day.highest) == (86_400, 25, 100)
    assert _load(load_words(rate="1/s", diurnal=day, duration="25h")).text.endswith(", stretched to 25 h 00 m")


def test_only_as_many_requests_as_can_be_simulated(day: Path) -> None:
    with pytest.raises(UsageError, match="9,720,000 requests exceed 5,000,000; give a shorter --duration or a lower"):
        _load(load_words(rate="400/s", diurnal=day))
    with pytest.raises(UsageError, match="60,000,000 requests exceed 5,000,000"):
        _load(load_words(rate="100000/s"))


@pytest.mark.parametrize("name", ["diurnal", None])
def test_no_request_is_no_simulation(day: Path, name: str | None) -> None:
    given = load_words(rate="1/h", duration="10s", diurnal=day if name else None)
    with pytest.raises(UsageError, match=r"^no request in 0\..*/s .*: nothing was simulated; give a longer --duration"):
        _load(given)
