"""`bertbench capacity`: the rate that one server sustains within an objective, and the servers that a rate needs.

Without an action, or with `sweep`: measures, fits, validates and plans. `fit`, `report` and `plan` use the folder of a
sweep; `simulate` simulates a fleet of the fitted server with incidents.
"""

import argparse
from typing import TextIO

from bench.cli.common.command_output import CommandOutput


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Runs the action.

    Raises:
        UsageError: malformed options, or options that contradict each other.
        TargetError: the target failed.
        InconclusiveError: the measurements do not allow a result.
        WrongAnswerError: every answer is wrong.
    """
    # Imported here, so that an action loads only what it needs.
    if args.action == "sweep":
        from bench.capacity.cli import sweep

        return sweep.run(args, out, err)
    if args.action in ("fit", "report"):
        from bench.capacity.cli import fit

        return fit.run(args, out, err)
    if args.action == "plan":
        from bench.capacity.cli import plan

        return plan.run(args, out, err)
    from bench.capacity.cli import simulate

    return simulate.run(args, out, err)
