import time
from pathlib import Path
from typing import Any

import msgpack
import pytest

from bench.core.errors import UsageError
from bench.load.engine import worker_session
from bench.load.engine.jobs import ScheduleShard
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.engine.worker_session import epoch_of, start_message
from bench.load.transports.endpoint import Endpoint
from bench.serving.access import Access
from bench.serving.headers import Headers
from bench.serving.tls import TlsOptions
from bench.workload.workload import Workload

HEADERS = Headers([("a", "b"), ("Key", '\xc3\xbc;,\t"')])
CA = Path(__file__).parent / "tls" / "ca.pem"


@pytest.mark.parametrize("shard", [None, ScheduleShard(b"12345678", b"1234", b"1", b"0")])
@pytest.mark.parametrize("tls", [TlsOptions(), TlsOptions(ca=CA)])
def test_a_plan_survives_locust_s_messages(shard: Any, tls: Any) -> None:
    plan = WorkerPlan(
        run="r",
        worker=1,
        golden=b"{}",
        workload=Workload(protocol="both", transport="fast", signature="score", users=4, duration=3.0),
        endpoint=Endpoint(rest="http://h:1", grpc="h:2", path="/p", access=Access(HEADERS, tls, 3.0), channels=2),
        shard=shard,
        think=None if shard else 0.5,
        begins=1.0,
        ends=4.0,
    )
    assert WorkerPlan.from_message(msgpack.loads(msgpack.dumps(plan.to_message()))) == plan


def test_a_plan_of_another_version_is_refused_by_its_field() -> None:
    with pytest.raises(UsageError, match=r"missing required field `worker`.*same version"):
        WorkerPlan.from_message({"run": "r"})


def test_processes_of_one_machine_start_at_the_same_moment() -> None:
    epoch = time.perf_counter() + 0.3
    assert epoch_of(msgpack.loads(msgpack.dumps(start_message("r", epoch)))) == epoch


def test_another_machine_starts_as_long_after_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    start = start_message("r", time.perf_counter() + 0.3)
    monkeypatch.setattr(worker_session, "_boot_id", lambda: "another")
    assert epoch_of({**start, "epoch": 5.0}) == pytest.approx(time.perf_counter() + 0.3, abs=0.05)


def test_a_clock_of_its_own_in_a_container_does_not_mislead() -> None:
    """Time namespaces shift the clock of a container though the boot is the same."""
    start = start_message("r", time.perf_counter() + 0.3)
    assert epoch_of({**start, "epoch": start["epoch"] + 1e6}) == pytest.approx(time.perf_counter() + 0.3, abs=0.05)
