"""Where the time of requests goes, on runs whose parts are known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.analysis.measured import load
from bench.analysis.time_by_second import TimeBySecond, time_by_second
from bench.results.samples import ServerSample
from tests.support.synthetic_runs import WORKLOAD, Requests, simulate, write_run

PARTS = ("client", "wire", "queue", "runtime", "serialisation", "unexplained")


def known_run(requests: Requests, slow: float = 0.0) -> None:
    """Each request waits 1 ms in the client and is served in 10 ms; those of the last half take `slow` longer."""
    requests.sent = requests.due + 0.001
    requests.done = requests.sent + 0.01 + np.where(requests.due > 12, slow, 0.0)


def divided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: float = 0.0, **shares: float | None) -> TimeBySecond:
    """The parts, with a server whose counters have these seconds of each request."""
    requests = simulate("constant:rate=50")
    known_run(requests, slow)
    times = {"grpc": 0.008, "runtime": 0.006, "queue": 0.002} | shares

    def sample(time: float, **_: Any) -> ServerSample:
        count = float((requests.done <= time).sum())
        values: dict[str, float | None] = {f"{name}_count": count for name, each in times.items() if each is not None}
        values |= {f"{name}_seconds": count * each for name, each in times.items() if each is not None}
        return ServerSample(time=time, **values)

    monkeypatch.setattr("tests.support.synthetic_runs.ServerSample", sample)
    run = write_run(tmp_path, requests, "constant:rate=50")
    return time_by_second(run, load(run))


def means(found: TimeBySecond) -> dict[str, float]:
    return {name: float(np.nanmean(getattr(found, name))) for name in PARTS}


def test_the_parts_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = divided(tmp_path, monkeypatch)
    assert found.known
    expected = {"client": 0.001, "wire": 0.002, "queue": 0.002, "runtime": 0.004, "serialisation": 0.002}
    assert means(found) == pytest.approx({**expected, "unexplained": 0.0}, abs=1e-9)
    inside = np.isfinite(found.unexplained)
    assert inside.sum() >= 19
    total = np.sum([getattr(found, name)[inside] for name in PARTS], axis=0)
    np.testing.assert_allclose(total, found.latency[inside])
    np.testing.assert_allclose(found.latency[inside], 0.011)


def test_what_nobody_measures_is_unexplained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = divided(tmp_path, monkeypatch, slow=0.005)
    late = found.time > 14
    assert found.unexplained[late & np.isfinite(found.unexplained)] == pytest.approx(0.005, abs=1e-9)
    assert np.nanmax(np.abs(found.unexplained[found.time < 12])) < 1e-9


def test_a_server_that_does_not_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = means(divided(tmp_path, monkeypatch, queue=None))
    assert (found["queue"], found["runtime"]) == pytest.approx((0.0, 0.006))


def test_without_the_server_s_page_only_the_client_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = divided(tmp_path, monkeypatch, grpc=None, runtime=None, queue=None)
    assert not found.known
    assert np.nanmean(found.client) == pytest.approx(0.001)
    assert np.isnan(found.wire).all()


def test_seconds_with_few_requests_are_not_divided(tmp_path: Path) -> None:
    requests = simulate("constant:rate=2", replace(WORKLOAD, warmup=0.0))
    run = write_run(tmp_path, requests, "constant:rate=2", replace(WORKLOAD, warmup=0.0))
    found = time_by_second(run, load(run))
    assert not found.known
    assert found.requests.sum() > 30
