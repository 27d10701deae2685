"""Sets of stored runs, and the gate's report on two of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.run import Analysis, analyse
from bench.analysis.shared_runs import refuse_shared_runs
from bench.gate.baseline_store import INDEX, promoted_runs
from bench.gate.stored import decide_stored
from bench.gate.types import GateReport, Plan
from bench.results.run_paths import FILE_NAME
from bench.results.run_reader import find_runs


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """A set of runs.

    Args:
        label: for people.
        runs: analysed.
    """

    label: str
    runs: Sequence[Analysis]


def run_stored_gate(plan: Plan, baseline: StoredRuns, candidate: StoredRuns) -> GateReport:
    """The gate on two sets of stored runs.

    Raises:
        UsageError: a run belongs to both sets, or twice to one.
    """
    refuse_shared_runs((baseline.label, baseline.runs), (candidate.label, candidate.runs))
    return GateReport(decide_stored(plan, baseline.runs, candidate.runs), baseline.label, candidate.label, "", 0.0)


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
