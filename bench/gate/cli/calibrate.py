"""`bertbench gate calibrate`: A/A tests show what the gate is worth on this machine."""

import argparse
from typing import TextIO

from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.common.values import whole
from bench.core import interrupts
from bench.core.errors import ExitCode, UsageError
from bench.core.units import format_seconds, pluralize
from bench.gate.aa_test import AATest
from bench.gate.aa_test_store import load_key, store_aa_test
from bench.gate.cli.options import add_load_options, gate_progress, read_spec
from bench.gate.spec import Variant
from bench.serving.target import parse_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("--target", default="embedded", help="the server, compared with itself (default: embedded)")
    parser.add_argument("--gates", type=whole(1, 10_000), default=20, metavar="N", help="gates to run (default: 20)")
    add_load_options(parser)


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
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
    model_dir = args.model_dir or demo_model_dir()
    variant = Variant(args.target, parse_target(args.target), model_dir, tuple(args.server_flag))
    spec = read_spec(args, variant, variant)

    test = AATest(spec)
    with interrupts.noting(lambda: f"{pluralize(test.gates, 'gate')} of {args.gates} ran, nothing is stored"):
        while test.gates < args.gates:
            name = f"gate {test.gates + 1} of {args.gates}"
            with gate_progress(err, args.max_time, name) as progress:
                verdict = test.run_gate(progress.show)
            pairs = verdict.pairs + verdict.invalid_pairs
            print(f"{name}: {verdict.kind} after {pluralize(pairs, 'pair')}", file=out, flush=True)
    found = test.result()
    store_aa_test(load_key(spec), found)
    effect = "none of those tried" if found.smallest is None else f"{100 * found.smallest:.3g} % of the median"
    print(f"false alarms: {found}; {found.inconclusive} inconclusive", file=out)
    print(f"smallest effect found within {format_seconds(args.max_time)}: {effect}", file=out)
    return ExitCode.OK
