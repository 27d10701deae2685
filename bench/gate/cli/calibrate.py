"""`bertbench gate calibrate`: what the gate is worth on this machine."""

import argparse
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TextIO

from bench.bert.contract.golden import read_golden
from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.common.values import whole
from bench.core import interrupts
from bench.core.errors import ExitCode, TargetError, UsageError
from bench.core.units import format_seconds, pluralize
from bench.gate.aa_test import AATestResult, load_key, smallest_effect, store_aa_test
from bench.gate.ab_servers import Variant, open_ab_servers
from bench.gate.cli.options import DEFAULT_EFFECT, add_load_options, gate_progress, read_load
from bench.gate.decision import Gate
from bench.gate.driver import drive
from bench.gate.types import Pair, VerdictKind, default_plan
from bench.load.setup.run_spec import RunSpec
from bench.serving.target import parse_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("--target", default="embedded", help="the server, held against itself (default: embedded)")
    parser.add_argument("--gates", type=whole(1, 10_000), default=20, metavar="N", help="gates to run (default: 20)")
    add_load_options(parser)


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Runs gates of a server against itself and stores what they show.

    Returns:
        0.

    Raises:
        UsageError: bad options.
        TargetError: the server does not come up.
    """
    if args.gates < 1:
        raise UsageError(f"--gates is 1 or more, not {args.gates}")
    arm = Variant(args.target, parse_target(args.target), args.model_dir or demo_model_dir(), tuple(args.server_flag))
    load = read_load(args)
    series: list[list[Pair]] = []
    kinds: list[VerdictKind] = []
    each: list[float] = []
    for number in range(args.gates):
        with interrupts.noting(lambda: f"{pluralize(len(kinds), 'gate')} of {args.gates} ran, nothing is stored"):
            kind, pairs, seconds = _one(args, arm, load, number, err)
        kinds.append(kind)
        series.append(pairs)
        each.append(seconds)
        print(f"gate {number + 1} of {args.gates}: {kind} after {len(pairs)} pairs", file=out, flush=True)
    pair_seconds = sum(each) / len(each)
    limit = max(int((args.max_time - 4 * args.warmup) / pair_seconds), 1)
    found = AATestResult(
        gates=args.gates,
        alarms=kinds.count(VerdictKind.REGRESSION),
        inconclusive=kinds.count(VerdictKind.INCONCLUSIVE),
        max_time=args.max_time,
        smallest=smallest_effect(series, default_plan, limit, load.seed),
        pair_seconds=pair_seconds,
        measured=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    )
    golden = read_golden(arm.model_dir).golden
    store_aa_test(load_key(load.protocol, str(load.arrivals), golden.checkpoint_digest), found)
    print(f"false alarms: {found}; {found.inconclusive} inconclusive", file=out)
    print(f"smallest effect found within {format_seconds(args.max_time)}: {_effect(found.smallest)}", file=out)
    return ExitCode.OK


def _one(
    args: argparse.Namespace, arm: Variant, load: RunSpec, number: int, err: TextIO
) -> tuple[VerdictKind, list[Pair], float]:
    """One gate on servers of its own: verdict, pairs, seconds a pair.

    Raises:
        TargetError: the server does not come up, ends, or does not answer.
    """
    start = time.monotonic()
    own = replace(load, seed=load.seed + number)
    gate = Gate(default_plan(DEFAULT_EFFECT))
    progress = gate_progress(err, args.max_time, f"gate {number + 1} of {args.gates}")
    with progress, open_ab_servers(arm, arm, own, start + args.max_time) as servers:
        verdict, each = drive(servers, gate, args.warmup, args.run_time, args.max_time, start, progress.show)
    if verdict.false_alarms is None and verdict.kind in (VerdictKind.REGRESSION, VerdictKind.TARGET_FAILED):
        raise TargetError(f"a server that fails cannot be held against itself: {verdict.reason}")
    return verdict.kind, list(gate.pairs), each


def _effect(smallest: float | None) -> str:
    return "none of those tried" if smallest is None else f"{100 * smallest:.3g} % of the median"
