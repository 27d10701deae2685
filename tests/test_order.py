"""The order of the tests in several processes, held against pytest-xdist's own scheduler."""

from types import SimpleNamespace
from typing import Any

import pytest
from xdist.scheduler import WorkStealingScheduling

from tests.support.order import long_first, share_sizes, turned


class Process:
    """What the scheduler knows of a test process."""

    shutting_down = False

    def __init__(self, number: int) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices


def first_shares(tests: list[str], processes: int) -> list[list[str]]:
    """What the scheduler gives to each process at first."""
    config: Any = SimpleNamespace(getvalue=lambda name: [f"{processes}*popen"])
    scheduler = WorkStealingScheduling(config)
    nodes: list[Any] = [Process(number) for number in range(processes)]
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, tests)
    scheduler.schedule()
    return [[tests[index] for index in node.given] for node in nodes]


def module(test: str) -> str:
    return test.partition("::")[0]


def ordered(modules: dict[str, tuple[int, float]], processes: int) -> list[str]:
    """Tests of modules, given by their number of tests and their seconds."""
    tests = [f"{name}::{number}" for name, (count, _) in modules.items() for number in range(count)]
    found = long_first(tests, processes, module, lambda test: modules[module(test)][1])
    assert sorted(found) == sorted(tests)
    return found


@pytest.mark.parametrize("processes", [2, 3, 4, 7])
def test_shares_begin_with_long_modules_and_have_them_whole(processes: int) -> None:
    modules = {f"quick-{number}": (40, 0.0) for number in range(10)}
    modules |= {f"long-{number}": (3 + number, 300.0 - number) for number in range(processes)}
    shares = first_shares(ordered(modules, processes), processes)
    assert [len(share) for share in shares] == share_sizes(sum(map(len, shares)), processes)
    for number, share in enumerate(shares):
        assert [module(test) for test in share].index(f"long-{number}") == 0
        assert [test for test in share if "long" in test] == [f"long-{number}::{place}" for place in range(3 + number)]


def test_the_longest_is_first_and_the_times_of_the_shares_are_even() -> None:
    modules = {"a": (9, 0.0), "b": (1, 20.0), "c": (2, 100.0), "d": (9, 0.0), "e": (1, 70.0), "f": (2, 40.0)}
    one, other = first_shares(ordered(modules, 2), 2)
    assert (one[:3], other[:3]) == (["c::0", "c::1", "b::0"], ["e::0", "f::0", "f::1"])
    assert [test for test in one + other if module(test) in "ad"] == [f"{name}::{n}" for name in "ad" for n in range(9)]


def test_more_long_tests_than_a_share_has_are_all_there() -> None:
    assert ordered({"a": (1, 0.0), "b": (9, 5.0)}, 2) == [*(f"b::{number}" for number in range(9)), "a::0"]


def test_each_process_begins_elsewhere_and_has_all() -> None:
    orders = [turned("abcdefg", process, 3) for process in range(3)]
    assert ["".join(order) for order in orders] == ["abcdefg", "cdefgab", "efgabcd"]
