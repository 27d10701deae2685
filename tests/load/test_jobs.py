"""Who sends what, and when: the same for any number of workers."""

from typing import Any

import numpy as np
import pytest

from bench.load.engine.jobs import ClosedJobs, Job, ScheduledJobs, ScheduleShard, Unrecorded, partition_schedule
from bench.workload.arrivals import OpenLoop, parse_arrivals
from bench.workload.workload import Workload


def workload(**fields: Any) -> Workload:
    defaults: dict[str, Any] = {
        "protocol": "rest",
        "transport": "fast",
        "signature": "score",
        "users": 8,
        "duration": 20.0,
        "seed": 5,
    }
    return Workload(**defaults | fields)


def schedule(text: str) -> OpenLoop:
    arrivals = parse_arrivals(text)
    assert isinstance(arrivals, OpenLoop)
    return arrivals


def take_all(shard: ScheduleShard) -> list[Job]:
    jobs = ScheduledJobs(shard)
    taken = [jobs.take(0.0) for _ in range(len(jobs))]
    return [job for job in taken if job is not None]


@pytest.mark.parametrize("arrivals", ["poisson:rate=50", "constant:rate=30", "ramp:from=1,to=60"])
@pytest.mark.parametrize("protocol", ["rest", "both"])
def test_the_union_does_not_depend_on_the_number_of_workers(arrivals: str, protocol: str) -> None:
    plan = workload(protocol=protocol, warmup=2.0, check_share=0.5)
    alone, (shard,) = partition_schedule(schedule(arrivals), plan, 40, 1)
    expected = take_all(shard)
    assert [job.due for job in expected] == alone.due.tolist()
    for workers in (2, 4):
        _, shards = partition_schedule(schedule(arrivals), plan, 40, workers)
        found = sorted(job for shard in shards for job in take_all(shard))
        assert found == sorted(expected)
        sizes = [len(shard.due) for shard in shards]
        assert max(sizes) - min(sizes) <= 8


def test_pairs_ask_the_same_on_both_protocols() -> None:
    _, (shard,) = partition_schedule(schedule("poisson:rate=50"), workload(protocol="both"), 40, 1)
    jobs = take_all(shard)
    pairs = list(zip(jobs[::2], jobs[1::2], strict=False))
    assert all(first.request == second.request for first, second in pairs)
    assert all({first.protocol_index, second.protocol_index} == {0, 1} for first, second in pairs)
    firsts = [first.protocol_index for first, _ in pairs]
    assert 0.4 < sum(firsts) / len(firsts) < 0.6


def test_the_share_of_checked_answers() -> None:
    _, (shard,) = partition_schedule(schedule("poisson:rate=200"), workload(check_share=0.25), 40, 1)
    checked = [job.checked for job in take_all(shard)]
    assert 0.2 < sum(checked) / len(checked) < 0.3


def test_what_is_due_and_not_taken() -> None:
    _, (shard,) = partition_schedule(schedule("constant:rate=10"), workload(duration=2.0), 40, 1)
    jobs = ScheduledJobs(shard)
    first = jobs.take(0.0)
    assert jobs.waiting(0.45) == 4
    assert jobs.give_back(first) == 0.0
    assert jobs.waiting(0.45) == 5
    assert jobs.take(0.5) == first
    left = jobs.left(1.0)
    assert [job.due for job in left] == pytest.approx([index / 10 for index in range(1, 11)])
    assert jobs.take(1.0) is None
    assert jobs.left(9.0) == []


def test_a_share_can_be_cut_down() -> None:
    _, (shard,) = partition_schedule(schedule("constant:rate=10"), workload(duration=1.0, protocol="both"), 40, 1)
    jobs = take_all(shard)
    chosen = np.zeros(10, np.bool_)
    chosen[[2, 7]] = True
    assert take_all(shard.only(chosen)) == [jobs[2], jobs[7]]


def test_closed_loop_has_always_one_more_until_the_end() -> None:
    jobs = ClosedJobs(workload(protocol="both", check_share=0.5), 40, 0, ends=3.0)
    taken = [jobs.take(1.25) for _ in range(40_000)]
    assert {job.due for job in taken} == {1.25}
    assert {job.request for job in taken} == set(range(40))
    assert abs(np.mean([job.protocol_index for job in taken]) - 0.5) < 0.01
    assert abs(np.mean([job.checked for job in taken]) - 0.5) < 0.02
    assert jobs.take(3.0) is None
    assert jobs.left(9.0) == []


def test_closed_loop_workers_draw_differently_and_alike_each_time() -> None:
    def draw(worker: Any) -> Any:
        jobs = ClosedJobs(workload(), 40, worker, ends=3.0)
        return [jobs.take(0.0).request for _ in range(100)]

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def shard_of(*due: float) -> ScheduleShard:
    count = len(due)
    return ScheduleShard(
        np.array(due).tobytes(), np.arange(count, dtype="<u4").tobytes(), *[np.zeros(count, "u1").tobytes()] * 2
    )


def test_what_has_no_record_among_equal_due_times() -> None:
    unrecorded = Unrecorded(shard_of(0.0, 0.0, 0.0, 1.0, 2.0, 2.0))
    for due, left in (([], 6), ([0.0], 5), ([2.0, 0.0], 3), ([1.0], 2), ([0.0, 2.0], 0), ([0.0, 2.0, 2.0], 0)):
        unrecorded.take_out(np.array(due))
        assert unrecorded.requests.sum() == left
    unrecorded = Unrecorded(shard_of(0.0, 0.0, 0.0, 1.0, 2.0, 2.0))
    unrecorded.take_out(np.array([0.0, 2.0, 0.0]))
    assert np.frombuffer(unrecorded.due)[unrecorded.requests].tolist() == [0.0, 1.0, 2.0]


def test_records_of_requests_that_are_not_in_the_schedule_take_none_out() -> None:
    unrecorded = Unrecorded(shard_of(0.0, 1.0))
    unrecorded.take_out(np.array([0.5, 3.0, 3.0]))
    assert unrecorded.requests.all()
    empty = Unrecorded(shard_of())
    empty.take_out(np.empty(0))
    assert not empty.requests.size


def test_records_of_a_day_take_no_more_memory_than_none() -> None:
    due = np.arange(100_000.0)
    unrecorded = Unrecorded(shard_of(*due))
    size = unrecorded.requests.nbytes
    for part in np.split(due, 1000):
        unrecorded.take_out(part)
    assert unrecorded.requests.nbytes == size == due.size
    assert not unrecorded.requests.any()


def test_what_is_given_back_is_taken_in_the_order_of_due_times() -> None:
    _, (shard,) = partition_schedule(schedule("constant:rate=10"), workload(duration=0.4), 40, 1)
    jobs = ScheduledJobs(shard)
    taken = take_all_of(jobs)
    assert jobs.exhausted(0.0)
    assert [jobs.give_back(taken[index]) for index in (2, 0, 3, 1)] == pytest.approx([0.2, 0.0, 0.0, 0.0])
    assert not jobs.exhausted(0.0)
    # Not those that are not due yet.
    assert jobs.waiting(0.15) == 2
    assert take_all_of(jobs) == taken


def take_all_of(jobs: ScheduledJobs) -> list[Job]:
    return list(iter(lambda: jobs.take(0.0), None))
