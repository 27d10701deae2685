"""All that is wrong with the settings, whatever command they are for."""

import argparse
from collections.abc import Iterator

from bench.config.actions import options_of, words_for
from bench.config.names import OptionNames, misspelt_variables, unknown_keys, unknown_locust_keys
from bench.config.resolution import Command, applicable, every_command
from bench.config.sources import Setting, Settings
from bench.core.errors import UsageError


def find_faults(top: argparse.ArgumentParser, settings: Settings, names: OptionNames) -> list[str]:
    """A line for each fault.

    Args:
        top: the program's parser, with the arguments of all commands.
        settings: what is checked.
        names: of all options.
    """
    commands = list(every_command(top))
    return list(
        dict.fromkeys(
            [
                *unknown_keys(settings.file, names),
                *unknown_locust_keys(settings.file, names.locust),
                *misspelt_variables(settings.variables, names),
                *_refused_values(commands, settings),
                *_contradictions(commands, settings),
            ]
        )
    )


def _refused_values(commands: list[Command], settings: Settings) -> Iterator[str]:
    """What the options' own parsers refuse; a value for all commands names those that refuse it."""
    refused: dict[str, list[str]] = {}
    accepted: dict[str, str] = {}
    for command, setting, error in _every_value(commands, settings):
        if error is None:
            accepted[setting.source] = " ".join(command.scope)
        else:
            refused.setdefault(f"{setting.source}\0{error}", []).append(" ".join(command.scope))
    for key, scopes in refused.items():
        source, _, error = key.partition("\0")
        if source in accepted:
            error += f" (bertbench {', '.join(scopes)}); {accepted[source]} takes it: set it for that command alone"
        yield error


def _every_value(commands: list[Command], settings: Settings) -> Iterator[tuple[Command, Setting, str | None]]:
    for command in commands:
        for name, action in options_of(command.parser):
            try:
                for setting in settings.candidates(command.scopes(action), name):
                    yield command, setting, _error(command, action, setting)
            except UsageError as error:
                yield command, Setting(str(error), None, False, ()), str(error)


def _error(command: Command, action: argparse.Action, setting: Setting) -> str | None:
    try:
        words_for(command.parser, action, setting)
    except UsageError as error:
        return str(error)
    return None


def _contradictions(commands: list[Command], settings: Settings) -> Iterator[str]:
    for command in commands:
        try:
            applicable(command, settings, set())
        except UsageError as error:
            yield str(error)
