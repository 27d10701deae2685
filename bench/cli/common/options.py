"""Options that several commands share."""

import argparse
import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.common.values import Value
from bench.core.errors import UsageError
from bench.server.lifecycle import RunningServer, check_model, open_target
from bench.serving.target import Target, TargetKind, parse_target
from bench.serving.types import DEFAULT_MODEL_NAME


def add_target_options(parser: argparse.ArgumentParser, estimator: bool = False) -> None:
    """`--target`, `--model-dir`, `--model-name`, `--server-flag`."""
    forms = "embedded, http://HOST:8501, grpc://HOST:8500, docker:cpu, docker:gpu, binary:PATH"
    parser.add_argument(
        "--target",
        type=Value(parse_target if estimator else served_target, as_text=True),
        default="embedded",
        help=f"{forms}{', estimator' if estimator else ''} (default: embedded)",
    )
    add_model_options(parser)
    parser.add_argument(
        "--server-flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="flag of a server that is started here; repeatable",
    )


def served_target(text: str) -> Target:
    """A target that is a server.

    Raises:
        UsageError: an unknown form, or the in-process Estimator.
    """
    target = parse_target(text)
    if target.kind is TargetKind.ESTIMATOR:
        raise UsageError("the estimator is not a server; give embedded, docker:cpu, http://HOST:8501, ...")
    return target


def add_scenario_options(parser: argparse.ArgumentParser, own: Collection[str]) -> None:
    """The options of scenarios, each a `Given` or None, except those that the command defines itself.

    Args:
        parser: the command's.
        own: names of `bench.load.locust_adapter.options.OPTIONS` to leave out.
    """
    from bench.load.locust_adapter.options import OPTIONS, READERS, SWITCHES

    for name, (default, text) in OPTIONS.items():
        if name not in own:
            shown = f"{text} (default: {default})" if default and "default" not in text else text
            kind = Value(READERS[name], both=True)
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="TEXT", help=shown.replace("%", "%%"))
    for name, text in SWITCHES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)


def given_options(args: argparse.Namespace, own: Collection[str]) -> dict[str, Any]:
    """Values of the options of `add_scenario_options` that the user gave, by name; switches always.

    Args:
        args: the parsed options.
        own: the same names as there.
    """
    from bench.load.locust_adapter.options import OPTIONS, SWITCHES

    given = {name: getattr(args, name) for name in OPTIONS if name not in own}
    values = {name: entry.value for name, entry in given.items() if entry is not None}
    return values | {name: bool(getattr(args, name)) for name in SWITCHES}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """`--model-dir` and `--model-name`."""
    parser.add_argument("--model-dir", type=Path, help="exported model, MODEL_DIR/<version>/ (default: the demo model)")
    parser.add_argument(
        "--model-name",
        default=DEFAULT_MODEL_NAME,
        help=f"the model's name on the server (default: {DEFAULT_MODEL_NAME})",
    )


def exported_model(args: argparse.Namespace) -> ExportedModel:
    """The model of `--model-dir`, or the demo model.

    Raises:
        UsageError: it cannot be read.
    """
    return ExportedModel.open(args.model_dir or demo_model_dir())


def add_preflight_option(parser: argparse.ArgumentParser) -> None:
    """`--no-preflight`."""
    from bench.load.locust_adapter.options import SWITCHES

    parser.add_argument("--no-preflight", action="store_true", help=SWITCHES["no_preflight"])


@contextlib.contextmanager
def running_server(args: argparse.Namespace, model: ExportedModel) -> Iterator[RunningServer]:
    """The server of `--target`, started here if it is managed.

    Raises:
        UsageError: the options contradict each other.
        TargetError: it does not come up or does not answer.
    """
    target = parse_target(args.target)
    check_model(target, model.model_dir, args.server_flag)
    with open_target(target, model.model_dir, args.model_name, args.server_flag) as server:
        yield server


def is_estimator(text: str) -> bool:
    """Whether `--target` is the in-process Estimator."""
    return parse_target(text).kind is TargetKind.ESTIMATOR


__all__ = [
    "Target",
    "add_model_options",
    "add_scenario_options",
    "add_target_options",
    "exported_model",
    "given_options",
    "is_estimator",
    "running_server",
]
