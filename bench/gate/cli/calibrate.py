"""`bertbench gate calibrate`: A/A tests show what the gate is worth on this machine."""

import argparse
from collections.abc import Sequence
from typing import Annotated, TextIO

from msgspec import Meta, Struct

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.options import target_of
from bench.core import interrupts
from bench.core.errors import ExitCode, UsageError
from bench.core.units import format_seconds, pluralize
from bench.gate.aa_test import AATest
from bench.gate.aa_test_store import AATestResult, load_key, store_aa_test
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
    """Runs gates of a server against itself and stores what they show.

    Returns:
        0.

    Raises:
        UsageError: bad options.
        TargetError: the server does not become ready, ends, or does not answer.
        InconclusiveError: `--max-time` is too short for a pair.
    """
    if args.gates < 1:
        raise UsageError(f"--gates is 1 or more, not {args.gates}")
    target = target_of(args)
    model_dir = model_of(f"--target {args.target}", target, args)
    variant = Variant(args.target, target, model_dir, tuple(args.server_flag))
    spec = read_gate_spec(args, variant, variant)

    test, verdicts = AATest(spec), list[VerdictValue]()
    with interrupts.noting(lambda: f"{pluralize(test.gates, 'gate')} of {args.gates} ran, nothing is stored"):
        while test.gates < args.gates:
            name = f"gate {test.gates + 1} of {args.gates}"
            with gate_progress(out.progress, args.max_time, name) as progress:
                verdict = test.run_gate(progress.show)
            pairs = verdict.pairs + verdict.invalid_pairs
            verdicts.append(VerdictValue(verdict=verdict.kind, pairs=pairs))
            out.part(f"{name}: {verdict.kind} after {pluralize(pairs, 'pair')}")
    found = test.result()
    store_aa_test(load_key(spec), found)
    effect = "none of those tried" if found.smallest is None else f"{100 * found.smallest:.3g} % of the median"
    out.result(
        AATestDocument(verdicts=verdicts, false_alarms_bound=found.alarms_bound, result=found),
        f"false alarms: {found}; {found.inconclusive} inconclusive\n"
        f"smallest effect found within {format_seconds(args.max_time)}: {effect}",
    )
    return ExitCode.OK
