"""The order in which several test processes take the tests: what takes long first, what is quick for an even end.

`worksteal` of pytest-xdist gives each process an equal number of tests in a row, its *share*; a process that has done
its share takes over the last half of what another has left. So the modules that are marked `long` are dealt over the
beginnings of the shares. They wait while other processes compute, none of them is left for the end, where one process
would be alone with it, and none is torn apart, which would make its fixtures twice.
"""

from collections.abc import Callable, Sequence
from itertools import groupby, islice
from typing import TypeVar

Item = TypeVar("Item")


def share_sizes(tests: int, processes: int) -> list[int]:
    """How many tests each process gets at first, as `worksteal` counts."""
    sizes: list[int] = []
    for remaining in range(processes, 0, -1):
        sizes.append((tests - sum(sizes)) // remaining)
    return sizes


def turned(entries: Sequence[Item], process: int, processes: int) -> list[Item]:
    """The entries in an order that begins elsewhere for each process.

    Where no module is compiled yet, each process compiles a part of them, and finds those of the others.
    """
    begin = len(entries) * process // processes
    return [*entries[begin:], *entries[:begin]]


def long_first(
    items: Sequence[Item], processes: int, module: Callable[[Item], str], seconds: Callable[[Item], float]
) -> list[Item]:
    """The items in an order for so many test processes.

    Args:
        items: the tests, those of a module in a row.
        processes: how many processes share them.
        module: the name of a test's module.
        seconds: how long the module of a test takes; 0 where it is not marked.
    """
    modules = [list(group) for _, group in groupby(items, module)]
    rest = iter([item for group in modules if not seconds(group[0]) for item in group])
    beginnings: list[list[Item]] = [[] for _ in range(processes)]
    taken = [0.0] * processes
    for group in sorted((group for group in modules if seconds(group[0])), key=lambda group: -seconds(group[0])):
        least = taken.index(min(taken))
        beginnings[least] += group
        taken[least] += seconds(group[0])
    ordered: list[Item] = []
    for beginning, size in zip(beginnings, share_sizes(len(items), processes), strict=True):
        ordered += beginning
        ordered += islice(rest, max(0, size - len(beginning)))
    return [*ordered, *rest]
