"""Which settings apply to a command: the command line wins, then variables, then the file."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.config.actions import find_option, kind_of, name_of, options_of, rivals_of, words_for
from bench.config.sources import Scope, Setting, Settings
from bench.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Command:
    """A command or sub-command.

    Args:
        scope: its words.
        parsers: its parser, after those of the commands above it, the program's own first.
    """

    scope: Scope
    parsers: tuple[argparse.ArgumentParser, ...]

    @property
    def parser(self) -> argparse.ArgumentParser:
        """Its own parser."""
        return self.parsers[-1]

    def scopes(self, action: argparse.Action) -> list[Scope]:
        """Where settings of an option are looked for, from the narrowest scope to that of all commands.

        A command's settings are those of its sub-commands too, except for an option that is another one there, such
        as a folder in the one and a file in the other.
        """
        found = [self.scope]
        for size in range(len(self.scope) - 1, 0, -1):
            above = find_option(self.parsers[size], name_of(action))
            if above is None or kind_of(above) == kind_of(action):
                found.append(self.scope[:size])
        return [*found, ()] if self.scope else found

    def subcommands(self) -> Iterator["Command"]:
        """The commands right below."""
        for action in self.parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for word, parser in action.choices.items():
                    yield Command((*self.scope, word), (*self.parsers, parser))


def every_command(top: argparse.ArgumentParser) -> Iterator[Command]:
    """The commands of a program and their sub-commands."""
    waiting = list(Command((), (top,)).subcommands())
    while waiting:
        command = waiting.pop(0)
        yield command
        waiting = [*command.subcommands(), *waiting]


def applicable(command: Command, settings: Settings, given: set[str]) -> dict[str, Setting]:
    """The settings that apply to a command, by option.

    Args:
        command: the command.
        settings: those outside the command line.
        given: names of the options on the command line.

    Raises:
        UsageError: settings of one source exclude each other.
    """
    found: dict[str, Setting] = {}
    for name, action in options_of(command.parser):
        first = next(settings.candidates(command.scopes(action), name), None)
        if first is not None and name not in given:
            found[name] = first
    return {
        name: found[name]
        for name, action in options_of(command.parser)
        if name in found and not _overruled(command.parser, action, found, given)
    }


def _overruled(
    parser: argparse.ArgumentParser, action: argparse.Action, found: Mapping[str, Setting], given: set[str]
) -> bool:
    """Whether an option that excludes this one is given at a higher place.

    Raises:
        UsageError: it is given at the same place.
    """
    own = found[name_of(action)]
    for rival in rivals_of(parser, action):
        if name_of(rival) in given:
            return True
        other = found.get(name_of(rival))
        # A switch that is off excludes nothing.
        if other is None or not words_for(parser, rival, other) or not words_for(parser, action, own):
            continue
        if other.rank == own.rank:
            raise UsageError(f"{own.source} and {other.source} exclude each other; keep one of them")
        if other.rank < own.rank:
            return True
    return False
