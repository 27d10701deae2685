"""`bertbench baseline`: run sets stored in a folder that can be committed or cached, one of them promoted."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

from msgspec import Meta

from bench.analysis.metrics import METRICS
from bench.analysis.run import analyse
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.core.errors import ExitCode, printable
from bench.core.units import pluralize
from bench.gate.baseline_store import Entry, add_runs, entry_runs, find_entry, promote, read_store
from bench.report import text
from bench.report.json_values import RunValue, run_value


class ListDocument(Document, frozen=True, kw_only=True):
    """The entries of a store, the oldest first."""

    command: str = "baseline list"
    store: str
    entries: Sequence[Entry]


class AddDocument(Document, frozen=True, kw_only=True):
    """The entry that was added."""

    command: str = "baseline add"
    store: str
    entry: Entry
    left_out: Annotated[Sequence[str], Meta(description="INVALID runs that are not part of it, a line each")]


class ShowDocument(Document, frozen=True, kw_only=True):
    """An entry, and its runs."""

    command: str = "baseline show"
    store: str
    entry: Entry
    runs: Sequence[RunValue]


class PromoteDocument(Document, frozen=True, kw_only=True):
    """The entry that was promoted."""

    command: str = "baseline promote"
    store: str
    entry: Entry


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Does one action.

    Returns:
        0; 1 if `add --promote` was given runs that failed, or too few VALID ones: they are stored and not promoted.

    Raises:
        UsageError: no such run or entry, or a failed entry to promote.
    """
    if args.action == "add":
        return _add(args, out, err)
    if args.action == "list":
        _list(args.store, out)
    elif args.action == "show":
        _show(args.store, find_entry(args.store, args.entry), out)
    else:
        entry = promote(args.store, args.entry)
        out.result(PromoteDocument(store=str(args.store), entry=entry), f"promoted {entry.id}")
    return ExitCode.OK


def _add(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    left_out: list[str] = []
    entry = add_runs(args.store, args.runs, args.label, datetime.now(UTC), left_out.append)
    lines = [f"added {entry.id}: {pluralize(len(entry.runs), 'run')}"]
    lines += [f"  left out: {line}" for line in left_out]
    lines += [f"  failed: {problem}" for problem in entry.problems]
    code, message = ExitCode.OK, None
    if args.promote and entry.problems:
        code = ExitCode.REGRESSION
        message = (
            f"bertbench: {entry.id} was stored but not promoted: {entry.problems[-1]}; look at its runs and add others"
        )
    elif args.promote:
        entry = promote(args.store, entry.id)
        lines.append(f"promoted {entry.id}")
    document = AddDocument(store=str(args.store), entry=entry, left_out=left_out, exit_code=code, message=message)
    out.result(document, "\n".join(lines))
    if message is not None:
        print(message, file=err)
    return code


def _list(store: Path, out: CommandOutput) -> None:
    entries = read_store(store)
    rows = [("id", "label", "runs", "state"), *(_row(entry) for entry in entries)]
    shown = text.table(rows) if entries else f"{store} holds no baseline yet"
    out.result(ListDocument(store=str(store), entries=entries), shown)


def _row(entry: Entry) -> tuple[str, str, str, str]:
    state = "promoted" if entry.promoted else ("failed" if entry.problems else "stored")
    return entry.id, printable(entry.label), f"{len(entry.runs):,}", state


def _show(store: Path, entry: Entry, out: CommandOutput) -> None:
    lines = [f"{entry.id}  {printable(entry.label)}  added {entry.added}  {_row(entry)[3]}"]
    lines += [f"  failed: {problem}" for problem in entry.problems]
    names = ("from_due_p50", "from_due_p95", "from_due_p99", "throughput", "error_share")
    rows = [("run", *(METRICS[name].title for name in names))]
    analyses = [analyse(stored) for stored in entry_runs(store, entry)]
    for analysis in analyses:
        metrics = analysis.summary.metrics
        centers = {name: metrics[name].center if name in metrics else None for name in names}
        rows.append((analysis.run.name, *(text.metric_value(METRICS[name], centers[name]) for name in names)))
    document = ShowDocument(store=str(store), entry=entry, runs=list(map(run_value, analyses)))
    out.result(document, "\n".join((*lines, text.table(rows))))
