"""The arguments of `bertbench gate`."""

import argparse
from pathlib import Path

from bench.cli.common.options import add_header_option
from bench.cli.common.output_files import refuse_overlaps
from bench.cli.common.output_options import let_json_take_file
from bench.cli.common.values import FOLDER, output_path
from bench.config.actions import name_of
from bench.core.errors import UsageError
from bench.gate.cli.arguments import calibrate, history
from bench.gate.cli.arguments.options import add_load_options, add_plan_options, read_plan_options
from bench.gate.types import ARMS, make_plan

_FORMS = "a target, a model folder, stored runs, or a store of baselines"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments, and its forms `calibrate` and `history`."""
    parser.add_argument("--baseline", metavar="X", help=_FORMS)
    parser.add_argument("--candidate", metavar="Y", help="the same")
    _add_live_options(parser)
    add_plan_options(parser)
    parser.add_argument(
        "--out",
        type=FOLDER,
        metavar="DIR",
        help="folder that the verdict and the runs of a live gate are stored in (default: not stored)",
    )
    parser.add_argument("--markdown", type=output_path, metavar="FILE", help="for a step summary or a comment")
    parser.add_argument("--html", type=output_path, metavar="FILE", help="a page for the browser, one file")
    parser.add_argument("--junit", type=output_path, metavar="FILE", help="JUnit XML")
    let_json_take_file(parser, _json_file)
    actions = parser.add_subparsers(dest="action", metavar="[calibrate | history]")
    calibrate.add_arguments(
        actions.add_parser("calibrate", help="false alarms and the smallest detectable effect of this machine")
    )
    history.add_arguments(actions.add_parser("history", help="change points over stored runs, with a plot"))


def live_options() -> frozenset[str]:
    """Names of the options that only a gate on two servers uses."""
    parser = argparse.ArgumentParser(add_help=False)
    _add_live_options(parser)
    # A gate on stored runs keeps to any limit.
    return frozenset(map(name_of, parser._actions)) - {"max-time"}


def _add_live_options(parser: argparse.ArgumentParser) -> None:
    """The options of the servers and the load."""
    parser.add_argument("--baseline-flag", action="append", default=[], metavar="FLAG", help="server flag; repeatable")
    parser.add_argument("--candidate-flag", action="append", default=[], metavar="FLAG", help="server flag; repeatable")
    for arm in ARMS:
        text = f"header for the {arm} only, instead of a --header of the same name; repeatable"
        add_header_option(parser, f"--{arm}-header", "NAME:VALUE", text)
    add_load_options(parser)


def check(args: argparse.Namespace) -> None:
    """Refuses a gate of one side, or on a plan that is none, and files that overwrite each other.

    Raises:
        UsageError: it is.
    """
    if args.action is not None:
        return
    if not (args.baseline and args.candidate):
        raise UsageError("the gate needs both sides; give --baseline X --candidate Y")
    outputs = {f"--{name}": getattr(args, name) for name in ("markdown", "html", "junit")}
    refuse_overlaps(outputs | {"--json": args.json_file}, folders=[args.out] if args.out else [])
    make_plan(**read_plan_options(args))


def _json_file(text: str) -> Path:
    """The file of `--json`; see `output_path`."""
    if text in ("calibrate", "history"):
        raise UsageError(f"{text} is an action; write gate {text} --json, or ./{text} for a file of that name")
    return output_path(text)
