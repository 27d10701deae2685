"""`bertbench baseline`: run sets stored in a folder that can be committed or cached, one of them promoted."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from bench.analysis.metrics import METRICS
from bench.analysis.run import analyse
from bench.core.errors import ExitCode
from bench.core.units import pluralize
from bench.gate.baseline_store import Entry, add_runs, entry_runs, find_entry, promote, read_store
from bench.report import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="copy runs into the store; a failed run is stored, but never promoted")
    add.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run, or a folder of runs")
    add.add_argument("--label", default="", help="what it is, for example a commit")
    add.add_argument("--promote", action="store_true", help="make it the baseline, if it is good")
    listing = actions.add_parser("list", help="all entries")
    show = actions.add_parser("show", help="one entry and its metrics")
    show.add_argument("entry", nargs="?", default="promoted", help="id, label, latest or promoted (default: promoted)")
    chosen = actions.add_parser("promote", help="make an entry the baseline")
    chosen.add_argument("entry", help="id, label or latest")
    for action in (add, listing, show, chosen):
        action.add_argument("--store", type=Path, default=Path("baselines"), help="the folder (default: baselines)")


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Does one action.

    Returns:
        0; 1 if `add --promote` was given runs that failed: they are stored and not promoted.

    Raises:
        UsageError: no such run or entry, or a failed entry to promote.
    """
    if args.action == "add":
        return _add(args, out, err)
    if args.action == "list":
        entries = read_store(args.store)
        rows = [("id", "label", "runs", "state"), *(_row(entry) for entry in entries)]
        out.write(text.table(rows) + "\n" if entries else f"{args.store} holds no baseline yet\n")
    elif args.action == "show":
        _show(args.store, find_entry(args.store, args.entry), out)
    else:
        print(f"promoted {promote(args.store, args.entry).id}", file=out)
    return ExitCode.OK


def _add(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    entry = add_runs(args.store, args.runs, args.label, datetime.now(UTC))
    print(f"added {entry.id}: {pluralize(len(entry.runs), 'run')}", file=out)
    for problem in entry.problems:
        print(f"  failed: {problem}", file=out)
    if args.promote and entry.problems:
        print(f"bertbench: {entry.id} failed, so it was stored but not promoted; look at its runs", file=err)
        return ExitCode.REGRESSION
    if args.promote:
        print(f"promoted {promote(args.store, entry.id).id}", file=out)
    return ExitCode.OK


def _row(entry: Entry) -> tuple[str, str, str, str]:
    state = "promoted" if entry.promoted else ("failed" if entry.problems else "stored")
    return entry.id, entry.label, str(len(entry.runs)), state


def _show(store: Path, entry: Entry, out: TextIO) -> None:
    print(f"{entry.id}  {entry.label}  added {entry.added}  {_row(entry)[3]}", file=out)
    for problem in entry.problems:
        print(f"  failed: {problem}", file=out)
    names = ("from_due_p50", "from_due_p95", "from_due_p99", "throughput", "error_share")
    rows = [("run", *(METRICS[name].title for name in names))]
    for stored in entry_runs(store, entry):
        metrics = analyse(stored).summary.metrics
        centers = {name: metrics[name].center if name in metrics else None for name in names}
        rows.append((stored.name, *(text.metric_value(METRICS[name], centers[name]) for name in names)))
    out.write(text.table(rows) + "\n")
