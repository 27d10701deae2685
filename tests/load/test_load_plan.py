from dataclasses import replace

import pytest

from bench.core.errors import UsageError
from bench.load.selftest.load_plan import LoadPlan, plan_load


@pytest.mark.parametrize(
    ("rate", "ceiling", "share", "cores", "plan"),
    [
        # One worker, and the master beside it.
        (100.0, 5000.0, 0.8, 2, LoadPlan(5000.0, 1, 2, 1, 0.02)),
        # Exactly what a worker is used to.
        (4000.0, 5000.0, 0.8, 2, LoadPlan(5000.0, 1, 2, 1, 0.8)),
        (4001.0, 5000.0, 0.8, 2, LoadPlan(5000.0, 2, 3, 2, 0.4001)),
        # 13 workers and the master: 15 of 16 cores are usable.
        (50_000.0, 5000.0, 0.8, 16, LoadPlan(5000.0, 13, 14, 1, 50 / 65)),
        (60_000.0, 5000.0, 0.8, 16, LoadPlan(5000.0, 15, 16, 2, 0.8)),
        # Machines of one core.
        (50_000.0, 5000.0, 1.0, 1, LoadPlan(5000.0, 10, 11, 11, 1.0)),
    ],
)
def test_workers_cores_and_machines(rate: float, ceiling: float, share: float, cores: int, plan: LoadPlan) -> None:
    found = plan_load(rate, ceiling, share, cores)
    assert found.utilization == pytest.approx(plan.utilization)
    assert replace(found, utilization=plan.utilization) == plan
    assert found.utilization <= share + 1e-9


def test_a_machine_without_cores_is_refused() -> None:
    with pytest.raises(UsageError, match="1 core or more"):
        plan_load(1.0, 1.0, 1.0, 0)
