"""How a balancer chooses."""

import random
from collections import Counter

import pytest

from bench.workload.balancing import POLICIES, LeastLoaded, Policy, make_policy


def policy(name: str, replicas: int) -> Policy:
    found = make_policy(name, random.Random(1))
    for replica in range(replicas):
        found.attach(replica)
    return found


@pytest.mark.parametrize("name", POLICIES)
def test_every_replica_gets_its_part_and_requests_are_counted(name: str) -> None:
    chooser = policy(name, 4)
    chosen = Counter(chooser.choose() for _ in range(4000))
    assert min(chosen.values()) > 800
    assert chooser.open == dict(chosen)


@pytest.mark.parametrize("name", POLICIES)
def test_who_parted_gets_nothing_more(name: str) -> None:
    chooser = policy(name, 3)
    for _ in range(9):
        chooser.choose()
    before = chooser.open[1]
    chooser.detach(1)
    assert 1 not in {chooser.choose() for _ in range(50)}
    # What was open there ends later, and it may come back.
    for _ in range(before):
        chooser.leave_request(1)
    assert chooser.open[1] == 0
    chooser.attach(1)
    assert 1 in {chooser.choose() for _ in range(50)}


def test_round_robin_goes_round() -> None:
    chooser = policy("round-robin", 3)
    assert [chooser.choose() for _ in range(6)] in ([1, 2, 0, 1, 2, 0], [0, 1, 2, 0, 1, 2])


def test_least_loaded_takes_the_least_loaded() -> None:
    rng = random.Random(2)
    chooser = LeastLoaded(random.Random(3))
    for replica in range(7):
        chooser.attach(replica)
    held: list[int] = []
    for _ in range(3000):
        if held and rng.random() < 0.48:
            chooser.leave_request(held.pop(int(rng.random() * len(held))))
            continue
        least = min(chooser.open.values())
        replica = chooser.choose()
        assert chooser.open[replica] == least + 1
        held.append(replica)
    assert chooser.open == {replica: held.count(replica) for replica in range(7)}


def test_two_choices_takes_the_less_loaded_of_two_different_ones() -> None:
    chooser = policy("two-choices", 2)
    for _ in range(100):
        chooser.choose()
    assert chooser.open == {0: 50, 1: 50}


def test_one_replica_alone() -> None:
    for name in POLICIES:
        assert policy(name, 1).choose() == 0
