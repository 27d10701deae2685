"""What the options of `bertbench gate` stand for, and its progress."""

import argparse
from typing import Any, TextIO

from bench.cli.common.progress import ProgressDisplay
from bench.gate.spec import GateSpec, Variant, draw_seed


def read_gate_spec(args: argparse.Namespace, baseline: Variant, candidate: Variant, **plan: Any) -> GateSpec:
    """The gate that the options describe; a seed is drawn if none is given.

    Args:
        args: the options of `add_load_options`.
        baseline: what the one arm runs.
        candidate: what the other arm runs.
        plan: of `read_plan_options`, and `out`.

    Raises:
        UsageError: arrivals that cannot be parsed, or values that are out of range.
    """
    return GateSpec(
        baseline=baseline,
        candidate=candidate,
        protocol=args.protocol,
        signature=args.signature,
        arrivals=args.arrivals,
        model_name=args.model_name,
        timeout=args.request_timeout,
        preflight=not args.no_preflight,
        seed=draw_seed() if args.seed is None else args.seed,
        max_time=args.max_time,
        warmup=args.warmup,
        run_time=args.run_time,
        **plan,
    )


def gate_progress(err: TextIO, most: float, name: str = "gate") -> ProgressDisplay:
    """The progress of a gate that may take `most` seconds."""
    return ProgressDisplay(err, name, most, "at most", "starting both servers")
