"""`bertbench scenario list`, and `bertbench scenario copy NAME [DIR]`: a scenario as a locustfile to edit."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TextIO

from msgspec import Meta, Struct

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.core.atomic_files import make_folder, write_atomically
from bench.core.errors import ExitCode, UsageError
from bench.load.setup.catalog import FILES, SCENARIOS
from bench.load.setup.locustfile import locustfile, scenario_title
from bench.report.text import table

_COLUMNS: Final = ("scenario", "protocol", "arrivals", "users", "run time")


class ScenarioValue(Struct, frozen=True, kw_only=True):
    """A scenario and its defaults."""

    name: str
    title: Annotated[str, Meta(description="what it is for")]
    protocol: Annotated[str, Meta(description="rest, grpc or both")]
    arrivals: Annotated[str, Meta(description="as --arrivals takes them")]
    users: Annotated[int, Meta(description="the most requests in flight")]
    run_time: Annotated[str, Meta(description="with the warm-up, as a duration such as 60s")]
    file: Annotated[str, Meta(description="name of the file that scenario copy writes")]


class ListDocument(Document, frozen=True, kw_only=True):
    """All scenarios."""

    command: str = "scenario list"
    scenarios: Sequence[ScenarioValue]


class CopyDocument(Document, frozen=True, kw_only=True):
    """The locustfile that was written."""

    command: str = "scenario copy"
    scenario: str
    path: str


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Runs the chosen sub-command.

    Raises:
        UsageError: the file cannot be written, or is there already.
    """
    if args.action == "list":
        values = [scenario_value(name) for name in SCENARIOS]
        out.result(ListDocument(scenarios=values), _text(values))
    else:
        path = copy_scenario(args.name, args.dir, args.force)
        text = f"{path}: edit it, then run: locust -f {shlex.quote(str(path))}"
        out.result(CopyDocument(scenario=args.name, path=str(path)), text)
    return ExitCode.OK


def scenario_value(name: str) -> ScenarioValue:
    """One of `SCENARIOS` as it is listed."""
    one = SCENARIOS[name]
    return ScenarioValue(
        name=name,
        title=scenario_title(name),
        protocol=one.protocol,
        arrivals=one.arrivals,
        users=one.users,
        run_time=one.run_time,
        file=FILES[name],
    )


def copy_scenario(name: str, folder: Path, force: bool) -> Path:
    """Writes one of `SCENARIOS` as a locustfile into `folder`; returns its path.

    Raises:
        UsageError: the file cannot be written, or is there and `force` is not given.
    """
    path = folder / FILES[name]
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give another DIR")
    if path.exists() and not force:
        raise UsageError(f"{path} is there already; give another DIR, or --force to replace it")
    make_folder(folder, "", "give another DIR")
    write_atomically(path, locustfile(name).encode())
    return path


def _text(values: Sequence[ScenarioValue]) -> str:
    """A table, and below each row what the scenario is for."""
    rows = [(one.name, one.protocol, one.arrivals, str(one.users), one.run_time) for one in values]
    header, *lines = table([_COLUMNS, *rows]).splitlines()
    pairs = [f"{line}\n  {one.title}" for one, line in zip(values, lines, strict=True)]
    return "\n".join([header, *pairs, "", "bertbench scenario copy NAME writes one as a locustfile to edit."])
