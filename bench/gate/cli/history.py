"""`bertbench gate history`: when did a metric change lastingly?"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

from msgspec import Meta, Struct

from bench.analysis.run import analyse
from bench.analysis.shared_runs import each_once
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.core.atomic_files import write_atomically, write_named
from bench.core.errors import ExitCode, UsageError
from bench.core.units import pluralize
from bench.gate.baseline_store import INDEX, entry_runs, read_store
from bench.gate.history import MetricSeries, exclusions, history, without_answers
from bench.gate.report.files import VERDICT, read_verdict
from bench.gate.report.history_plot import history_text, plot_history
from bench.results.run_paths import FILE_NAME
from bench.results.run_reader import Run, find_runs


class StoredGate(Struct, frozen=True, kw_only=True):
    """A gate whose verdict is stored."""

    name: str
    verdict: str
    reason: str


class HistoryDocument(Document, frozen=True, kw_only=True):
    """Stored gates, and the change points over stored runs."""

    command: str = "gate history"
    gates: Sequence[StoredGate]
    excluded: Annotated[Sequence[str], Meta(description="names of the runs that are in no series")]
    copies: Annotated[int, Meta(description="runs that are left out because another one is the same")]
    series: Annotated[Sequence[MetricSeries], Meta(description="a metric over the runs under one load, in base units")]
    note: Annotated[str | None, Meta(description="why there is no series")]
    plot: Annotated[str | None, Meta(description="PNG file")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Prints the verdicts of the gates stored there and the change points, and draws the plot.

    Returns:
        0, whatever the history shows: only the gate decides.

    Raises:
        UsageError: too few runs, or none; a verdict that cannot be read.
    """
    if not 0 < args.p_value < 1:
        raise UsageError(f"--p-value lies between 0 and 1, not {args.p_value}")
    paths = sorted(args.dir.glob(f"*/{VERDICT}"))
    gates = []
    for path in paths:
        kind, reason = read_verdict(path)
        gates.append(StoredGate(name=path.parent.name, verdict=kind, reason=reason))
        out.part(f"{path.parent.name}: {kind}: {reason}")
    stored = _runs(args.dir, [path.parent for path in paths])
    runs = each_once(stored, lambda run: run)
    if copies := len(stored) - len(runs):
        out.part(f"{pluralize(copies, 'run')} left out: the same as another, as where a set was added again")
    analyses = [analyse(entry) for entry in runs]
    excluded = exclusions(analyses)
    for name, why in excluded.items():
        out.part(f"{name}: {why}; it is excluded")
    try:
        series = history([entry for entry in analyses if not without_answers(entry)], args.p_value)
    except UsageError as error:
        if not gates:
            raise
        document = HistoryDocument(
            gates=gates, excluded=list(excluded), copies=copies, series=(), note=str(error), plot=None
        )
        out.result(document, f"no change points: {error}")
        return ExitCode.OK
    plot = args.plot or args.dir / "history.png"
    plot_history(series, plot, write_named if args.plot else write_atomically)
    document = HistoryDocument(
        gates=gates, excluded=list(excluded), copies=copies, series=series, note=None, plot=str(plot)
    )
    out.result(document, f"{history_text(series)}plot: {plot}", history_text(series))
    return ExitCode.OK


def _runs(folder: Path, gates: Sequence[Path]) -> list[Run]:
    """The runs of a folder or a store, and those of the candidates of the gates in it."""
    if (folder / INDEX).is_file():
        return [run for entry in read_store(folder) for run in entry_runs(folder, entry)]
    # A gate on stored runs leaves a verdict and no run of its own.
    own = find_runs([folder]) if not gates or any(folder.glob(f"*/{FILE_NAME}")) else []
    found = (run for gate in gates if any(gate.glob(f"*/{FILE_NAME}")) for run in find_runs([gate]))
    return [*own, *(run for run in found if run.manifest.workload.scenario == "gate-candidate")]
