"""Runs that are there twice, copies included: on both sides of a comparison, twice on one, or in a store."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from bench.analysis.run import Analysis
from bench.core.errors import UsageError
from bench.core.units import pluralize
from bench.results.run_reader import Run

Item = TypeVar("Item")


def each_once(items: Iterable[Item], run_of: Callable[[Item], Run]) -> list[Item]:
    """The items whose runs are no copies of the run of an earlier one: a run agrees with itself."""
    found: dict[str, Item] = {}
    for item in items:
        found.setdefault(run_of(item).identity, item)
    return list(found.values())


def refuse_shared_runs(*sides: tuple[str, Sequence[Analysis]]) -> None:
    """Refuses runs that are there twice, copies included: a run agrees with itself, whatever the server does.

    Args:
        sides: two, each with its name for people.

    Raises:
        UsageError: a run belongs to both sides, or twice to one.
    """
    seen: dict[str, int] = {}
    shared: list[str] = []
    for index, (label, runs) in enumerate(sides):
        for entry in runs:
            identity = entry.run.identity
            if seen.get(identity) == index:
                raise UsageError(f"{entry.run.name} is twice in {label}; give each run once")
            if identity in seen:
                shared.append(entry.run.name)
            seen[identity] = index
    if shared:
        others = ", ..." if len(shared) > 1 else ""
        raise UsageError(
            f"{pluralize(len(shared), 'run')} on both sides ({min(shared)}{others}): "
            f"{' and '.join(label for label, _ in sides)} must be different runs"
        )
