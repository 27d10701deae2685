"""A command line together with the settings from variables and the file."""

import argparse
import contextlib
import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench.config.actions import given_options, options_of, words_for
from bench.config.names import OptionNames, known_names, refuse_unknown
from bench.config.resolution import Command, applicable
from bench.config.sources import FILE_VARIABLE, PREFIX, Scope, Setting, read_settings
from bench.core.errors import UsageError

WITHOUT_SETTINGS: Final[tuple[Scope, ...]] = (("config", "check"), ("completion",))
"""Commands that work whatever is wrong with the settings."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command line with the settings that apply to it.

    Args:
        words: all of it, for the program's parser.
        used: settings by option, of those that are not the default.
        given: names of the options that the user wrote on it, which are meant for this command; settings are defaults
            for all.
    """

    words: Sequence[str]
    used: Mapping[str, Setting] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    @contextlib.contextmanager
    def naming_sources(self) -> Iterator[None]:
        """Adds to a usage error where the options that it names were set, if not on the command line."""
        try:
            yield
        except UsageError as error:
            text = str(error)
            named = [name for name in self.used if re.search(rf"--{re.escape(name)}(?![\w-])", text)]
            if named:
                error.args = (f"{text} ({'; '.join(f'--{name}: {self.used[name].source}' for name in named)})",)
            raise


def read_command_line(
    top: argparse.ArgumentParser, words: Sequence[str], environment: Mapping[str, str], names: OptionNames | None = None
) -> CommandLine:
    """Adds the settings of the command in `words`, in front of its own options.

    Nothing is added where `words` ask for help, or name no command.

    Args:
        top: the program's parser, with the arguments of the command.
        words: the command line.
        environment: the environment variables.
        names: of all options of the program; None takes those of `bertbench`.

    Raises:
        UsageError: the file cannot be read, it or a variable has an unknown name, a value is refused, or two settings
            exclude each other.
    """
    command, starts = _find_command(top, words)
    given = [given_options(parser, words[start:])[0] for parser, start in zip(command.parsers, starts, strict=True)]
    options = {name for found in given for name in found}
    if not command.scope or command.scope in WITHOUT_SETTINGS or "help" in options or "version" in given[0]:
        return CommandLine(words)
    path = next((Path(text) for found in reversed(given) if (text := found.get("config")) is not None), None)
    settings = read_settings(environment, path)
    if settings.file or settings.variables:
        refuse_unknown(settings, _names_with(command, names or known_names()))
    used = applicable(command, settings, options)
    added = [
        word
        for name, action in options_of(command.parser)
        if name in used
        for word in words_for(command.parser, action, used[name])
    ]
    return CommandLine([*words[: starts[-1]], *added, *words[starts[-1] :]], used, frozenset(options))


def chosen_command(top: argparse.ArgumentParser, words: Sequence[str]) -> str | None:
    """The word of the command in a command line, whether there is such a command or not."""
    position = given_options(top, words)[1]
    return words[position] if position < len(words) else None


@contextlib.contextmanager
def without_options(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Takes the variables of options out of the environment, so that no child process reads them again."""
    if not any(name.startswith(PREFIX) for name in environment):
        yield
        return
    names = known_names().variables() | {FILE_VARIABLE}
    taken = {name: environment.pop(name) for name in list(environment) if name in names}
    try:
        yield
    finally:
        environment.update(taken)


def _names_with(command: Command, known: OptionNames) -> OptionNames:
    """The known names, with those of the command's own parsers."""
    own = {
        command.scope[:size]: frozenset(name for name, _ in options_of(parser))
        for size, parser in enumerate(command.parsers)
        if size
    }
    merged = {scope: known.options.get(scope, frozenset()) | names for scope, names in own.items()}
    return replace(known, options={**known.options, **merged})


def _find_command(top: argparse.ArgumentParser, words: Sequence[str]) -> tuple[Command, list[int]]:
    """The command in a command line, and for each of its parsers the index of the first word after its own."""
    command, starts = Command((), (top,)), [0]
    while True:
        position = starts[-1] + given_options(command.parser, words[starts[-1] :])[1]
        below = {found.scope[-1]: found for found in command.subcommands()}
        if position >= len(words) or words[position] not in below:
            return command, starts
        command = below[words[position]]
        starts.append(position + 1)
