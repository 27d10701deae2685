"""Runs, gates and sweeps in Python: what the commands of `bertbench` do, as functions on typed values.

    run = api.read_run("results/example/rest")
    frame = run.frame()                              # pandas: one row a request
    print(run.summary().metrics["from_due_p50"])     # an estimate with its interval, seconds

Errors are `bench.core.errors.BenchError`, whose text is one line for people.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bench.analysis import compare as sides
from bench.analysis.compare import Comparison
from bench.analysis.metrics import METRICS, Metric
from bench.analysis.run import Analysis, analyse
from bench.analysis.shared_runs import refuse_shared_runs
from bench.analysis.summary import RunSummary
from bench.analysis.validity import Validity
from bench.capacity import sweeps
from bench.capacity.experiment.experiment_design import FULL, QUICK, Scale
from bench.capacity.experiment.sweep_listener import SweepListener
from bench.capacity.experiment.sweep_spec import SweepSpec
from bench.capacity.model.model_file import StoredModel, read_model
from bench.capacity.plan.plan import PlanOptions
from bench.capacity.plan.planned import PlanRequest
from bench.capacity.plan.result import CapacityResult
from bench.capacity.plan.slo import Slo
from bench.core.errors import UsageError
from bench.core.extras import require
from bench.core.types import checked_call, checked_fields
from bench.gate.spec import GateSpec, Variant
from bench.gate.stored_runs import StoredRuns, read_stored_runs, run_stored_gate
from bench.gate.types import GateReport, make_plan
from bench.load.runner.client import open_runner
from bench.load.setup.run_spec import RunSpec
from bench.results.manifest import RunManifest
from bench.results.records import COLUMNS, Column
from bench.results.run_paths import refuse_twice
from bench.results.run_reader import Run as RunFolder
from bench.results.run_reader import find_runs, open_run
from bench.serving.access import Access
from bench.serving.headers import Headers, read_headers
from bench.serving.target import Target, parse_target
from bench.serving.tls import TlsOptions
from bench.workload.arrivals import Arrivals, parse_arrivals

if TYPE_CHECKING:
    import pandas as pd

    from bench.report.runs.run_reports import RunReport

__all__ = [
    "COLUMNS",
    "FULL",
    "METRICS",
    "QUICK",
    "Access",
    "Arrivals",
    "CapacityResult",
    "Column",
    "Comparison",
    "GateReport",
    "GateSpec",
    "Headers",
    "Metric",
    "PlanOptions",
    "PlanRequest",
    "Run",
    "RunSpec",
    "RunSummary",
    "Scale",
    "Slo",
    "StoredModel",
    "SweepListener",
    "SweepSpec",
    "Target",
    "TlsOptions",
    "Variant",
    "compare",
    "gate",
    "live_gate",
    "parse_arrivals",
    "parse_target",
    "read_headers",
    "read_run",
    "read_runs",
    "read_sweep",
    "report",
    "run",
    "sweep",
]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
@checked_fields
class Run:
    """A stored run; `read_run` makes it.

    Args:
        stored: its folder, opened.
    """

    stored: RunFolder

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.stored.name

    @property
    def path(self) -> Path:
        """The folder."""
        return self.stored.path

    @property
    def manifest(self) -> RunManifest:
        """What was asked, and where: workload, arrivals, target, server, environment."""
        return self.stored.manifest

    @property
    def finished(self) -> bool:
        """Whether the run came to its end; if not, its records may lack the last second."""
        return self.stored.finished

    @cached_property
    def analysis(self) -> Analysis:
        """Its metrics, validity and warnings; made once.

        Raises:
            UsageError: the records cannot be read.
        """
        return analyse(self.stored)

    def summary(self) -> RunSummary:
        """Its metrics without the warm-up: `metrics` by name, each an estimate with its interval, in base units."""
        return self.analysis.summary

    def validity(self) -> Validity:
        """Whether it is VALID, with each check."""
        return self.analysis.validity

    def frame(self) -> "pd.DataFrame":
        """All its requests, warm-up included: one row a request, with the columns of `COLUMNS`; absent is NA.

        Raises:
            UsageError: the records cannot be read.
        """
        # Here and not above, so that reading a manifest does not load pandas.
        require("pandas", "a frame")
        from bench.results.data_frame import request_frame

        return request_frame(self.stored)


Runs = PathLike | Run | Sequence[PathLike | Run]
"""Runs of one side: a run, its folder, a folder of runs, or several of these."""


@checked_call
def run(spec: RunSpec) -> Run:
    """Sends the load of `spec` from one process of its own, and gives the run when it is stored.

    A managed target (`embedded`, `docker:cpu`, ...) is started before and stopped after. Requests that fail do not
    raise: they are in the run.

    Args:
        spec: what is sent, when, to what; the folder of runs is `spec.results`.

    Raises:
        UsageError: values that do not go together, or no golden answers.
        TargetError: the server does not come up, does not answer, or does not serve the model.
    """
    with open_runner() as runner:
        return read_run(runner.run(spec))


@checked_call
def read_run(path: PathLike, *, verify: bool = True) -> Run:
    """Opens a run folder, finished or not.

    Args:
        path: the folder.
        verify: whether the files of a finished run are held against their checksums.

    Raises:
        UsageError: no run folder, a newer format, or files that were lost or changed.
    """
    return Run(open_run(Path(path), verify=verify))


@checked_call
def read_runs(*paths: PathLike, verify: bool = True) -> list[Run]:
    """Opens the runs at `paths`, each a run folder or a folder of runs (taken by name, thus by time).

    Raises:
        UsageError: a path that is neither, a folder without a run, or a run that cannot be opened.
    """
    return [Run(found) for found in find_runs(map(Path, paths), verify=verify)]


@checked_call
def compare(before: Runs, after: Runs, *, anyway: bool = False) -> Comparison:
    """Differences between two sides: of their manifests, and of each metric with the interval of the change.

    Args:
        before: one run, or repeats of one.
        after: the same, compared with `before`.
        anyway: compare runs under different loads too.

    Raises:
        UsageError: no such run, one on both sides, or runs of one side that are not repeats of each other.
        InconclusiveError: the sides were under different loads, and not `anyway`.
    """
    first, second = ([run.analysis for run in _opened(side)] for side in (before, after))
    refuse_shared_runs(("the first side", first), ("the second", second))
    return sides.compare(first, second, anyway=anyway)


@checked_call
def report(runs: Runs, out: PathLike | None = None) -> "list[RunReport]":
    """Writes a report of each run, and of several runs one side by side.

    Args:
        runs: what is reported.
        out: where the files go; None is each run's own folder, and `report/` beside them for several.

    Raises:
        UsageError: no such run, one that cannot be read, or two of one name with `out`.
        OSError: a folder that cannot be written.
    """
    # Here and not above, so that only this loads matplotlib.
    from bench.report.runs.run_reports import write_comparison_report, write_run_reports

    folder = None if out is None else Path(out)
    reports = list(write_run_reports([run.stored for run in _opened(runs)], folder))
    if len(reports) > 1:
        write_comparison_report(reports, folder)
    return reports


@checked_call
def gate(
    baseline: Runs,
    candidate: Runs,
    *,
    min_effect: float = 0.05,
    min_effects: Mapping[str, float] | None = None,
    metrics: Sequence[str] = (),
) -> GateReport:
    """The gate's verdict on stored runs: `report.verdict.kind` and `report.exit_code`.

    Args:
        baseline: run sets, or a store of baselines, whose promoted entry is taken.
        candidate: the same.
        min_effect: smallest effect of the median that matters, a fraction; those of the other metrics follow from it.
        min_effects: smallest effects of single metrics.
        metrics: evaluate only these, which then must be measured; () is all.

    Raises:
        UsageError: no such runs, a run on both sides, no such metric, or an effect that is not above 0.
    """
    return run_stored_gate(make_plan(min_effect, min_effects or {}, metrics), _stored(baseline), _stored(candidate))


@checked_call
def live_gate(spec: GateSpec, notify: Callable[[str], None] = lambda state: None) -> GateReport:
    """The gate's verdict on two live servers, driven side by side: `report.verdict.kind` and `report.exit_code`.

    Managed targets (`embedded`, `docker:cpu`, ...) are started before and stopped after. A server that fails, too
    little time, and Ctrl-C do not raise: they are verdicts.

    Args:
        spec: both servers, their load, the smallest effects that matter, and the time.
        notify: gets what is being done, one line, whenever that changes.

    Raises:
        UsageError: values that do not go together, models that cannot get the same requests, or a smallest effect that
            this machine is known not to show in the time given.
    """
    # Here and not above, so that only this loads gevent.
    from bench.gate.live_gate import run_gate

    return run_gate(spec, notify)


@checked_call
def sweep(spec: SweepSpec, listener: SweepListener | None = None) -> CapacityResult:
    """Measures the capacity of a server, fits and validates the model, plans, and writes the report to `spec.out`.

    A managed target (`embedded`, `docker:cpu`, ...) is started before and stopped after. An interrupted sweep continues
    with `spec.resume`.

    Args:
        spec: what is measured, how long, and what is planned.
        listener: receives the progress.

    Returns:
        The sustained rate, the model, its validation and the plan. `result.sustained.attainable` is False where no rate
        meets the objective.

    Raises:
        UsageError: values that contradict each other, a folder with another sweep, or no golden answers.
        TargetError: the server does not come up or stops answering.
        WrongAnswerError: every answer is wrong.
        InconclusiveError: the load generator was the limit, or too little was measured.
    """
    return sweeps.sweep(spec, listener)


@checked_call
def read_sweep(path: PathLike) -> StoredModel:
    """Reads the measurements and the capacity model in the folder of a sweep.

    Raises:
        UsageError: there is no fitted model, or this version cannot read it.
    """
    return read_model(Path(path))


def _each(runs: Runs) -> Iterable[PathLike | Run]:
    return (runs,) if isinstance(runs, str | os.PathLike | Run) else runs


def _opened(runs: Runs) -> list[Run]:
    found: list[Run] = []
    for entry in _each(runs):
        found += [entry] if isinstance(entry, Run) else read_runs(entry)
    refuse_twice(run.path for run in found)
    return found


def _stored(runs: Runs) -> StoredRuns:
    if isinstance(runs, str | os.PathLike):
        if stored := read_stored_runs(Path(runs), str(runs)):
            return stored
        raise UsageError(f"{runs} holds no runs; give a run folder, a folder of runs or a store of baselines")
    found = _opened(runs)
    return StoredRuns(", ".join(run.name for run in found), [run.analysis for run in found])
