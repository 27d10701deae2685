"""Options that several commands share."""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from bench.cli.common.values import DURATION, Value
from bench.core.errors import UsageError
from bench.core.redaction import split_headers
from bench.serving.access import Access
from bench.serving.headers import check_header, read_headers
from bench.serving.target import Target, TargetKind, parse_target
from bench.serving.tls import TlsOptions
from bench.serving.types import DEFAULT_MODEL_NAME


def add_target_options(parser: argparse.ArgumentParser, estimator: bool = False) -> None:
    """`--target`, how to reach it, `--model-dir`, `--model-name`, `--server-flag`."""
    docker = "docker:cpu, docker:gpu, docker:cpu,cpus=2,memory=4GB"
    forms = f"embedded, http://HOST:8501, grpc://HOST:8500, {docker}, binary:PATH"
    parser.add_argument(
        "--target",
        type=Value(parse_target if estimator else served_target, as_text=True),
        default="embedded",
        help=f"{forms}{', estimator' if estimator else ''} (default: embedded)",
    )
    add_access_options(parser)
    add_model_options(parser)
    parser.add_argument(
        "--server-flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="flag of a server that is started here, with a file of this machine where it names one; repeatable",
    )


def add_access_options(parser: argparse.ArgumentParser) -> None:
    """How to reach a target: headers, certificates, and the time to become ready; for `access_of`."""
    from bench.load.locust_adapter.options import HEADER, OPTIONS

    metavar, text = HEADER
    add_header_option(parser, "--header", metavar, text)
    parser.add_argument(
        "--headers",
        type=Value(lambda text: [check_header(part) for part in split_headers(text)], as_text=True),
        metavar="TEXT",
        help=OPTIONS["headers"][1],
    )
    for name in ("ca_cert", "client_cert", "client_key"):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=Path, metavar="FILE", help=OPTIONS[name][1])
    text = OPTIONS["ready_timeout"][1].replace("auto:", "default:")
    parser.add_argument("--ready-timeout", type=DURATION, metavar="TIME", help=text)


def add_header_option(parser: argparse.ArgumentParser, option: str, metavar: str, text: str) -> None:
    """An option for one header, repeatable."""
    parser.add_argument(option, type=Value(check_header), action="append", default=[], metavar=metavar, help=text)


def access_of(args: argparse.Namespace) -> Access:
    """How to reach a target, by the options of `add_access_options`: read once, since a header's file may be a pipe.

    Raises:
        UsageError: a header that is given twice, a variable or file of its value or certificate files that are not
            there, or certificates that are not together.
    """
    if not hasattr(args, "access"):
        headers = read_headers((*split_headers(args.headers or ""), *args.header))
        tls = TlsOptions(args.ca_cert, args.client_cert, args.client_key)
        args.access = Access(headers, tls, args.ready_timeout)
    access: Access = args.access
    return access


def target_of(args: argparse.Namespace) -> Target:
    """The target of `--target`, and how to reach it.

    Raises:
        UsageError: see `access_of`; or options that have no effect on the target.
    """
    return parse_target(args.target, access_of(args))


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
    """The options of scenarios, each a `Given` or None, except those of `add_target_options` and of the command itself.

    Args:
        parser: the command's.
        own: names of `OPTIONS` and `SWITCHES` of `bench.load.locust_adapter.options` to leave out.
    """
    from bench.load.locust_adapter.options import ACCESS, OPTIONS, READERS, SWITCHES

    for name, (default, text) in OPTIONS.items():
        if name not in own and name not in ACCESS:
            shown = f"{text} (default: {default})" if default and "default" not in text else text
            kind = Value(READERS[name], both=True)
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="TEXT", help=shown.replace("%", "%%"))
    for name, text in SWITCHES.items():
        if name not in own:
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)


def given_options(args: argparse.Namespace, own: Collection[str]) -> dict[str, Any]:
    """Values of the options of `add_scenario_options` that the user gave, by name; switches always.

    Args:
        args: the parsed options.
        own: the same names as there.
    """
    from bench.load.locust_adapter.options import ACCESS, OPTIONS, SWITCHES

    given = {name: getattr(args, name) for name in OPTIONS if name not in own and name not in ACCESS}
    values = {name: entry.value for name, entry in given.items() if entry is not None}
    return values | {name: bool(getattr(args, name)) for name in SWITCHES if name not in own}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """`--model-dir` and `--model-name`."""
    parser.add_argument("--model-dir", type=Path, help="exported model, MODEL_DIR/<version>/ (default: the demo model)")
    parser.add_argument(
        "--model-name",
        default=DEFAULT_MODEL_NAME,
        help=f"the model's name on the server (default: {DEFAULT_MODEL_NAME})",
    )


def add_preflight_option(parser: argparse.ArgumentParser) -> None:
    """`--no-preflight`."""
    from bench.load.locust_adapter.options import SWITCHES

    parser.add_argument("--no-preflight", action="store_true", help=SWITCHES["no_preflight"])


def is_estimator(text: str) -> bool:
    """Whether `--target` is the in-process Estimator."""
    return parse_target(text).kind is TargetKind.ESTIMATOR
