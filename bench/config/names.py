"""The names of all options, without the commands' modules, and what a file or a variable names that does not exist."""

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from bench.config.sources import FILE_VARIABLE, ConfigFile, Scope, Settings, option_name, variable_name
from bench.core.errors import UsageError, did_you_mean, printable

NAMES_FILE: Final = "option_names.json"
LOCUST: Final = "locust"
"""The table of Locust's own options and those of the scenarios."""
LOCUST_FLAGS: Final = frozenset({"locustfile"})
"""Options of Locust that it reads before it knows the scenario, and that no setting can give."""
# How alike a variable must be to one of an option to be taken for a misspelling of it.
_ALIKE: Final = 0.8
# Of the Locust process that `bertbench run` starts.
_INTERNAL: Final = frozenset({"BERTBENCH_RUN"})


@dataclass(frozen=True)
class OptionNames:
    """The options of each command, without the leading dashes.

    Args:
        options: by the command's words.
        scenarios: options of the scenarios, which Locust has too.
        locust: all options of Locust with a scenario.
    """

    options: Mapping[Scope, frozenset[str]]
    scenarios: frozenset[str] = frozenset()
    locust: frozenset[str] = frozenset()

    def within(self, scope: Scope) -> frozenset[str]:
        """The options of a command and of its sub-commands; those of all commands and scenarios for `()`."""
        found = (names for words, names in self.options.items() if words[: len(scope)] == scope)
        return frozenset().union(*found, self.scenarios if not scope else ())

    def below(self, scope: Scope) -> list[str]:
        """The words of the sub-commands of a command, in their order."""
        size = len(scope)
        return list(dict.fromkeys(words[size] for words in self.options if len(words) > size and words[:size] == scope))

    def commands_with(self, option: str) -> list[str]:
        """The commands that have an option."""
        return [" ".join(words) for words, names in self.options.items() if option in names]

    def variables(self) -> frozenset[str]:
        """The environment variables of all options, of one command and of all."""
        scopes = {words[:size] for words in self.options for size in range(len(words) + 1)}
        found = {variable_name(scope, option) for scope in scopes for option in self.within(scope)}
        return frozenset(found | {variable_name((LOCUST,), option) for option in self.locust})


@lru_cache(maxsize=1)
def known_names() -> OptionNames:
    """The names in the package's file, which a test holds to the parsers."""
    found = json.loads(resources.files("bench.config").joinpath(NAMES_FILE).read_text("utf-8"))
    options = {tuple(words.split()): frozenset(names) for words, names in found["commands"].items()}
    return OptionNames(options, frozenset(found["scenarios"]), frozenset(found["locust"]))


def refuse_unknown(settings: Settings, names: OptionNames) -> None:
    """Refuses keys of the file that no command has, and variables that are almost those of an option.

    Raises:
        UsageError: the first one.
    """
    faults = [*unknown_keys(settings.file, names), *misspelt_variables(settings.variables, names)]
    if faults:
        raise UsageError(faults[0])


def unknown_keys(file: ConfigFile | None, names: OptionNames) -> list[str]:
    """A line for each key and table of a file that is neither an option nor a command; Locust checks its own table."""
    return list(_unknown_in(file, (), file.root, names)) if file else []


def unknown_locust_keys(file: ConfigFile | None, known: Iterable[str]) -> list[str]:
    """A line for each key in `[locust]` and in the tables of scenarios in it that is not an option of Locust.

    Args:
        file: the settings.
        known: the options of Locust with a scenario.
    """
    if file is None:
        return []
    options, lines = set(known), []
    scenarios = [key for key, value in file.table((LOCUST,)).items() if isinstance(value, dict)]
    for scope in [(LOCUST,), *((LOCUST, key) for key in scenarios)]:
        for key, value in file.table(scope).items():
            if option_name(key) not in options and not (isinstance(value, dict) and len(scope) == 1):
                hint = did_you_mean(option_name(key), sorted(options))
                lines.append(f"{printable(key)} {file.place(scope)}: Locust has no such option{hint}")
    return lines


def _unknown_in(file: ConfigFile, scope: Scope, table: Mapping[str, Any], names: OptionNames) -> Iterable[str]:
    options, commands = names.within(scope), names.below(scope)
    for key, value in table.items():
        shown = printable(key) or "''"
        if isinstance(value, dict) and (scope, key) == ((), LOCUST):
            continue
        if isinstance(value, dict) and key not in commands:
            yield f"table {shown} {file.place(scope)}: unknown command{did_you_mean(key, [*commands, LOCUST])}"
        elif isinstance(value, dict):
            yield from _unknown_in(file, (*scope, key), value, names)
        elif option_name(key) not in options:
            yield f"{shown} {file.place(scope)}: {_missing(file, scope, key, names)}"


def _missing(file: ConfigFile, scope: Scope, key: str, names: OptionNames) -> str:
    if key in names.below(scope) or (scope, key) == ((), LOCUST):
        return f"its options belong in a table, [{file.table_name((*scope, key))}]"
    if scope and (others := names.commands_with(option_name(key))):
        return f"{' '.join(scope)} has no such option, but {', '.join(others[:3])}; move it to their table"
    return f"unknown option{did_you_mean(option_name(key), sorted(names.within(scope)))}"


def misspelt_variables(variables: Iterable[str], names: OptionNames) -> list[str]:
    """A line for each variable whose name is almost that of an option."""
    known = sorted({*names.variables(), FILE_VARIABLE})
    lines = []
    for variable in unknown_variables(variables, names):
        near = difflib.get_close_matches(variable.upper(), known, 1, _cutoff(variable))
        if near:
            lines.append(f"{printable(variable)}: unknown option; did you mean {near[0]}?")
    return lines


def unknown_variables(variables: Iterable[str], names: OptionNames) -> list[str]:
    """The variables that belong to no option, such as those that hold a user's token."""
    return sorted(set(variables) - names.variables() - _INTERNAL - {FILE_VARIABLE})


def _cutoff(variable: str) -> float:
    """The likeness of whole names that stands for `_ALIKE` of what follows their common prefix."""
    prefix = len("BERTBENCH_")
    length = len(variable)
    return 1 - (1 - _ALIKE) * (length - prefix) / length
