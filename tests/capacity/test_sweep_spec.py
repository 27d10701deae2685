"""The typed sweep: what it refuses, and what it records."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.bert.contract.golden import FixedExport
from bench.bert.contract.masked_requests import FixedShape
from bench.capacity.experiment.experiment_design import QUICK
from bench.capacity.experiment.sweep_spec import SweepSpec
from bench.capacity.plan.planned import PlanRequest
from bench.capacity.plan.slo import Slo
from bench.core.errors import UsageError
from bench.load.setup.run_spec import RunSpec
from bench.serving.target import parse_target
from bench.workload.due_times import ClosedLoop
from tests.support.toy_golden import toy_golden


def load(**given: Any) -> RunSpec:
    values = {"protocol": "rest", "target": parse_target("http://localhost:8501"), **given}
    return RunSpec(scenario="capacity", arrivals=ClosedLoop(1), users=1, duration=1.0, **values)


def spec(run: RunSpec | None = None, **given: Any) -> SweepSpec:
    return SweepSpec(load=run or load(), slo=Slo.parse("p99=250ms"), out=Path("out"), **given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"replicas": 0}, "replicas is 0; it must be 1 to 10,000"),
        ({"replicas": 10_001}, "replicas is 10001; it must be 1 to 10,000"),
        ({"servers": 1025}, "servers is 1025; it must be 1 to 1,024"),
        ({"cores_per_replica": 0}, "cores_per_replica is 0; it must be 1 to 4,096"),
        ({"run": load(protocol="both", transport="fast+grpcio")}, "'both'; it must be rest or grpc"),
        (
            {"replicas": 3, "replica_targets": (parse_target("http://localhost:8502"),)},
            "address of replica 3 is missing",
        ),
        (
            {"replicas": 2, "replica_targets": (parse_target("http://localhost:8502"),) * 2},
            "--target and --replica-target are 3 servers, and 2 would be used; give --replicas 3",
        ),
        (
            {"run": load(target=parse_target("embedded")), "replica_targets": (parse_target("http://localhost:8502"),)},
            "--replica-target has no effect with embedded, of which the sweep starts each replica",
        ),
        ({"batching": "largest=0"}, "'largest=0' does not describe batching"),
    ],
)
def test_values_that_do_not_fit_are_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        spec(**given)


def test_a_plan_needs_a_rate() -> None:
    with pytest.raises(UsageError, match="--plan rate=500/s or --diurnal"):
        PlanRequest()


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, 2e9])
def test_a_rate_to_plan_for_is_in_range(rate: float) -> None:
    with pytest.raises(UsageError, match="rate is .*/s; it must be above 0 and at most 1,000,000,000/s"):
        PlanRequest(rate=rate)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"ladder": ()}, "ladder is empty"),
        ({"ladder": (1, 10**9)}, "ladder is 1000000000; it must be 1 to 100,000"),
        ({"step": -1.0}, "step is -1.0 s; it must be 0 to 100,000,000 s"),
        ({"warmup": math.inf}, "warmup is inf s; it must be 0 to 100,000,000 s"),
        ({"repeats": 10_001}, "repeats is 10001; it must be 0 to 10,000"),
    ],
)
def test_a_scale_checks_its_numbers(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        replace(QUICK, **changed)


def test_the_job_records_what_decides_the_steps() -> None:
    flags = ("--enable_batching", "--other=1")
    found = spec(load(signature="serving_default", server_flags=flags, seed=3), scale=QUICK, label="cpu").job(
        toy_golden(20)
    )
    assert found["target"] == "http://localhost:8501"
    assert found["request"] == {"signature": "serving_default"}
    assert (found["seed"], found["label"], found["server_flags"]) == (3, "cpu", list(flags))
    assert found["knee"] == list(QUICK.knee)
    assert found["batching"].startswith("largest=")
    assert spec().job(toy_golden(20))["batching"] == "off"


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bfloat16"},
        {"top_k": 5},
        {"fixed": FixedExport(FixedShape(128, 20), "prob")},
        {"tokenizer": {"vocab_digest": "sha256:0", "do_lower_case": False}},
        {"sentences": toy_golden(20, seed=2).sentences},
    ],
)
def test_another_export_of_the_checkpoint_is_another_job(change: dict[str, Any]) -> None:
    golden = toy_golden(20)
    assert spec().job(replace(golden, source="elsewhere")) == spec().job(golden)
    assert spec().job(replace(golden, **change))["model"] != spec().job(golden)["model"]
