"""`bertbench gate history`: when did a figure change for good?"""

import argparse
from pathlib import Path
from typing import TextIO

from bench.analysis.analysis import analyse
from bench.analysis.baselines import INDEX, entry_runs, read_store
from bench.analysis.history import P_VALUE, history
from bench.cli.values import number
from bench.errors import ExitCode, UsageError
from bench.report.gate_history_plot import history_text, plot_history
from bench.results.run import Run, find_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("dir", type=Path, metavar="DIR", help="a folder of runs, or a store of baselines")
    parser.add_argument(
        "--p-value", type=number(0, 0.5, open_least=True), default=P_VALUE, help=f"of one split (default: {P_VALUE})"
    )
    parser.add_argument("--plot", type=Path, help="PNG file (default: history.png in DIR)")


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Prints the change points and draws the plot.

    Returns:
        0, whatever there is: a history tells, the gate decides.

    Raises:
        UsageError: too few runs, or none.
    """
    if not 0 < args.p_value < 1:
        raise UsageError(f"--p-value lies between 0 and 1, not {args.p_value}")
    series = history([analyse(entry) for entry in _runs(args.dir)], args.p_value)
    path = args.plot or args.dir / "history.png"
    plot_history(series, path)
    out.write(history_text(series))
    print(f"plot: {path}", file=out)
    return ExitCode.GOOD


def _runs(folder: Path) -> list[Run]:
    if not (folder / INDEX).is_file():
        return find_runs([folder])
    return [run for entry in read_store(folder) for run in entry_runs(folder, entry)]
