"""`bertbench scenario list`, and `bertbench scenario copy NAME [DIR]`: a scenario as a locustfile to edit."""

import argparse
import shlex
from pathlib import Path
from typing import Final, TextIO

from bench.core.atomic_files import make_folder, write_atomically
from bench.core.errors import ExitCode, UsageError
from bench.load.setup.catalog import FILES, SCENARIOS
from bench.load.setup.locustfile import locustfile, scenario_title
from bench.report.text import table

_COLUMNS: Final = ("scenario", "protocol", "arrivals", "users", "run time")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of both sub-commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the scenarios, with their defaults")
    copy = actions.add_parser("copy", help="write a scenario as a locustfile to edit")
    copy.add_argument("name", choices=SCENARIOS, help="which one, see bertbench scenario list")
    copy.add_argument(
        "dir", type=Path, nargs="?", default=Path(), metavar="DIR", help="folder of the file (default: this one)"
    )
    copy.add_argument("--force", action="store_true", help="replace a file that is there")


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Runs the chosen sub-command.

    Raises:
        UsageError: the file cannot be written, or is there already.
    """
    if args.action == "list":
        _print_scenarios(out)
    else:
        path = copy_scenario(args.name, args.dir, args.force)
        print(f"{path}: edit it, then run: locust -f {shlex.quote(str(path))}", file=out)
    return ExitCode.OK


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


def _print_scenarios(out: TextIO) -> None:
    """A table, and below each row what the scenario is for."""
    rows = [(name, one.protocol, one.arrivals, str(one.users), one.run_time) for name, one in SCENARIOS.items()]
    header, *lines = table([_COLUMNS, *rows]).splitlines()
    print(header, file=out)
    for name, line in zip(SCENARIOS, lines, strict=True):
        print(f"{line}\n  {scenario_title(name)}", file=out)
    print("\nbertbench scenario copy NAME writes one as a locustfile to edit.", file=out)
