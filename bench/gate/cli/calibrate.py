"""`bertbench gate calibrate`: A/A tests show what the gate is worth on this machine."""

import argparse
from collections.abc import Sequence
from typing import Annotated, TextIO

from msgspec import Meta, Struct

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.options import target_of
from bench.core import interrupts
from bench.core.cache import make_cache_dir
from bench.core.errors import BenchError, ExitCode, UsageError, one_line
from bench.core.units import format_seconds, pluralize
from bench.gate.aa_test import AATest
from bench.gate.aa_test_store import AATestResult, load_key, store_aa_test, store_most_gates
from bench.gate.cli.live_gate_options import gate_progress, read_gate_spec
from bench.gate.cli.sources import model_of
from bench.gate.spec import Variant


class VerdictValue(Struct, frozen=True, kw_only=True):
    """One gate of a server against itself."""

    verdict: str
    pairs: Annotated[int, Meta(description="with the invalid ones")]


class AATestDocument(Document, frozen=True, kw_only=True):
    """What gates of a server against itself show."""

    command: str = "gate calibrate"
    verdicts: Sequence[VerdictValue]
    false_alarms_bound: Annotated[float, Meta(description="largest rate of false alarms, at 95 % confidence")]
    result: AATestResult


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Runs gates of a server against itself and stores what they show, those before an error or a signal too.

    Returns:
        0.

    Raises:
        UsageError: bad options.
        TargetError: the server does not become ready, ends, or does not answer.
        InconclusiveError: `--max-time` is too short for a pair.
        Interrupted: a signal ended it.
    """
    if args.gates < 1:
        raise UsageError(f"--gates is 1 or more, not {args.gates}")
    target = target_of(args)
    model_dir = model_of(f"--target {args.target}", target, args)
    variant = Variant(args.target, target, model_dir, tuple(args.server_flag))
    spec = read_gate_spec(args, variant, variant)
    # Before hours of gates.
    key = load_key(spec)
    make_cache_dir()

    test, verdicts = AATest(spec), list[VerdictValue]()
    try:
        while test.gates < args.gates:
            name = f"gate {test.gates + 1} of {args.gates}"
            with gate_progress(out.progress, args.max_time, name) as progress:
                verdict = test.run_gate(progress.show)
            pairs = verdict.pairs + verdict.invalid_pairs
            verdicts.append(VerdictValue(verdict=verdict.kind, pairs=pairs))
            out.part(f"{name}: {verdict.kind} after {pluralize(pairs, 'pair')}")
    except (KeyboardInterrupt, BenchError, OSError) as error:
        ran = f"{pluralize(test.gates, 'gate')} of {args.gates} ran"
        if test.gates:
            print(f"{ran}; looking for the smallest effect that they find", file=out.progress, flush=True)
            _conclude_early(test.result(), verdicts, key, ran, error, out)
        elif isinstance(error, KeyboardInterrupt):
            error.add_note(f"{ran}, nothing is stored")
        raise
    found = test.result()
    store_aa_test(key, found)
    _print(found, verdicts, out)
    return ExitCode.OK


def _conclude_early(
    found: AATestResult,
    verdicts: Sequence[VerdictValue],
    key: str,
    ran: str,
    error: KeyboardInterrupt | BenchError | OSError,
    out: CommandOutput,
) -> None:
    """Stores and prints what the gates before an error or a signal show; the line about that says what is stored."""
    with interrupts.held():
        try:
            stored = store_most_gates(key, found)
            kept = "what they show is stored" if stored == found.gates else f"the result of {stored} stays stored"
        except (BenchError, OSError) as fault:
            kept = f"nothing is stored ({one_line(fault)})"
        error.add_note(f"{ran}, {kept}")
        _print(found, verdicts, out, *interrupts.ending(error))


def _print(
    found: AATestResult,
    verdicts: Sequence[VerdictValue],
    out: CommandOutput,
    code: int = ExitCode.OK,
    message: str | None = None,
) -> None:
    effect = "none of those tried" if found.smallest is None else f"{100 * found.smallest:.3g} % of the median"
    out.result(
        AATestDocument(
            verdicts=verdicts,
            false_alarms_bound=found.alarms_bound,
            result=found,
            exit_code=code,
            message=message,
        ),
        f"false alarms: {found}; {found.inconclusive} inconclusive\n"
        f"smallest effect found within {format_seconds(found.max_time)}: {effect}",
    )
