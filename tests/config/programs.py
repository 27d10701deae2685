"""A small program with commands of every kind of option, and a file of settings for it."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from bench.cli.parser import Parser
from bench.config.actions import options_of
from bench.config.command_line import CommandLine, read_command_line
from bench.config.names import OptionNames
from bench.config.resolution import every_command
from bench.core.units import parse_whole


def program() -> Parser:
    """`prog run SCENARIO`, `prog gate`, `prog gate check DIR`, `prog store add`."""
    top = Parser(prog="prog")
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("scenario")
    run.add_argument("--users", type=lambda text: parse_whole(text, 1, 100))
    run.add_argument("--arrivals", action="append", default=[])
    run.add_argument("--padded", action="store_true")
    run.add_argument("--format", choices=("tsv", "json"))
    run.add_argument("--out", metavar="DIR")
    run.add_argument("--model-dir", type=Path)
    run.add_argument("-n", "--noise", action="count", default=0)
    run.add_argument("--check", action=argparse.BooleanOptionalAction, default=True)
    length = run.add_mutually_exclusive_group()
    length.add_argument("--epochs")
    length.add_argument("--steps")
    length.add_argument("--endless", action="store_true")
    gate = commands.add_parser("gate")
    gate.add_argument("--baseline", required=True)
    gate.add_argument("--seed", default="0")
    gate.add_argument("--out", metavar="DIR")
    gate.add_argument("--dump", nargs="?", const="-", metavar="FILE")
    check = gate.add_subparsers(dest="action").add_parser("check")
    check.add_argument("dir")
    check.add_argument("--seed", default="0")
    check.add_argument("--out", metavar="FILE")
    stores = commands.add_parser("store").add_subparsers(dest="action", required=True)
    add = stores.add_parser("add")
    add.add_argument("--store", default="here")
    add.add_argument("--format")
    return top


def names() -> OptionNames:
    """The names of the program's options."""
    return OptionNames(
        {
            command.scope: frozenset(name for name, _ in options_of(command.parser))
            for command in every_command(program())
        },
        scenarios=frozenset({"model-dir", "results"}),
        locust=frozenset({"model-dir", "results", "host", "users"}),
    )


def read(words: str, variables: Mapping[str, str] | None = None) -> CommandLine:
    """The command line with the settings of the current folder."""
    return read_command_line(program(), words.split(), variables or {}, names())


def parsed(words: str, variables: Mapping[str, str] | None = None) -> argparse.Namespace:
    """What the program makes of it."""
    return program().parse_args(read(words, variables).words)
