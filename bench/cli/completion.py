"""`bertbench completion`: the script by which a shell completes commands, options and their values."""

import argparse
from pathlib import Path
from typing import Annotated, TextIO

import shtab
from msgspec import Meta

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.dispatch import full_parser
from bench.config.resolution import every_command
from bench.core.errors import ExitCode


class CompletionDocument(Document, frozen=True, kw_only=True):
    """The script of a shell."""

    command: str = "completion"
    shell: str
    script: Annotated[str, Meta(description="what the shell evaluates")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Prints the script.

    Returns:
        0.
    """
    parser = full_parser()
    for command in every_command(parser):
        for action in command.parser._actions:
            if action.choices is not None and not isinstance(action, argparse._SubParsersAction):
                # shtab takes a mapping for the names of sub-commands.
                action.choices = tuple(action.choices)
            if action.type is Path or "DIR" in str(action.metavar):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    script = shtab.complete(parser, args.shell)
    out.result(CompletionDocument(shell=args.shell, script=script), script)
    return ExitCode.OK
