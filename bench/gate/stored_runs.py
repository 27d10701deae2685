"""A side of the gate or of a comparison that is made of stored runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.run import Analysis, analyse
from bench.core.errors import UsageError
from bench.core.units import pluralize
from bench.gate.baseline_store import INDEX, promoted_runs
from bench.results.manifest import FILE_NAME
from bench.results.run_folder import REQUESTS
from bench.results.run_reader import Run, find_runs


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """A side made of runs.

    Args:
        label: for people.
        runs: analysed.
    """

    label: str
    runs: Sequence[Analysis]


def read_stored_runs(path: Path, label: str) -> StoredRuns | None:
    """The runs of a run folder, of a folder of runs, or of the baseline in a store; None if `path` is none of these.

    Raises:
        UsageError: runs that cannot be read, or a store without a baseline.
    """
    if (path / INDEX).is_file():
        return StoredRuns(label, [analyse(run) for run in promoted_runs(path)])
    if (path / FILE_NAME).is_file() or any(path.glob(f"*/{FILE_NAME}")):
        return StoredRuns(label, [analyse(run) for run in find_runs([path])])
    return None


def refuse_shared_runs(baseline: StoredRuns, candidate: StoredRuns) -> None:
    """Refuses runs that are there twice, be they copies: a run agrees with itself, whatever the server does.

    Raises:
        UsageError: a run belongs to both sides, or twice to one.
    """
    seen: dict[str, str] = {}
    shared: list[str] = []
    for name, side in (("baseline", baseline), ("candidate", candidate)):
        for entry in side.runs:
            identity = _identity(entry.run)
            if seen.get(identity) == name:
                raise UsageError(f"{entry.run.name} is twice in {side.label}; give each run once")
            if identity in seen:
                shared.append(entry.run.name)
            seen[identity] = name
    if shared:
        raise UsageError(
            f"{pluralize(len(shared), 'run')} on both sides ({min(shared)}, ...): {baseline.label} and "
            f"{candidate.label} must be different runs"
        )


def _identity(run: Run) -> str:
    """What a run has in common with its copies alone: its requests, when and where; its folder if it is unfinished."""
    if REQUESTS not in run.file.checksums:
        return str(run.path.resolve())
    return " ".join((run.file.checksums[REQUESTS], run.manifest.started, run.manifest.environment.host))
