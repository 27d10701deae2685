"""Runs that are on both sides of a comparison, or twice on one."""

from collections.abc import Sequence

from bench.analysis.run import Analysis
from bench.core.errors import UsageError
from bench.core.units import pluralize


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
