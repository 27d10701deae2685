"""Settings of a Locust process that a user starts: variables that start with `BERTBENCH_`, and `bertbench.toml`.

They reach Locust's parser as two more of its configuration files, which ConfigArgParse reads: the file before
`locust.conf`, which wins over it, and the variables after it. Flags and the variables of Locust itself win over all.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.config.actions import is_repeatable, options_of, value_for
from bench.config.names import (
    LOCUST,
    LOCUST_FLAGS,
    known_names,
    misspelt_variables,
    unknown_keys,
    unknown_locust_keys,
)
from bench.config.sources import Scope, Setting, Settings, read_settings
from bench.core.errors import UsageError, one_line
from bench.load.locust_adapter.options import OPTIONS, SWITCHES, read_arrivals, read_option
from bench.load.setup.catalog import Scenario
from bench.load.setup.run_context import started_by_bertbench

# Options beside those of `OPTIONS` that `bertbench run` has too, in the same sense and for a process of any role.
_SHARED: Final = frozenset({"users", "header"})

Value = bool | int | str | list[str]


def take_settings(parser: Any, scenario: Scenario) -> None:
    """Lets Locust's parser read the settings; none at all in a process that `bertbench run` started.

    Ends the process with one line if a setting is refused.

    Args:
        parser: Locust's, with the options of the scenario.
        scenario: its name is that of a table in `[locust]`.
    """
    files = list(parser._default_config_files)
    if started_by_bertbench():
        parser._default_config_files = []
        return
    try:
        settings = read_settings(os.environ)
        _refuse_unknown(parser, settings)
        low = _values(parser, Settings(file=settings.file), [(LOCUST, scenario.name), (LOCUST,)])
        high = _values(parser, Settings(settings.variables), [(LOCUST,)])
    except (UsageError, OSError) as error:
        print(f"bertbench: {one_line(error)}", file=sys.stderr)
        sys.exit(int(UsageError.exit_code))
    parser._default_config_files = [_stream("bertbench", low), *files, _stream("variables", high)]


def _refuse_unknown(parser: argparse.ArgumentParser, settings: Settings) -> None:
    names = known_names()
    known = {name for name, _ in options_of(parser)} - LOCUST_FLAGS
    faults = [
        *unknown_keys(settings.file, names),
        *unknown_locust_keys(settings.file, known),
        *misspelt_variables(settings.variables, names),
    ]
    if faults:
        raise UsageError(faults[0])


def _values(parser: argparse.ArgumentParser, settings: Settings, scopes: list[Scope]) -> dict[str, Value]:
    """The values of options, by name; those of all commands are for the options that `bertbench run` has too."""
    found = {}
    for name, action in options_of(parser):
        shared = name.replace("-", "_") in OPTIONS.keys() | SWITCHES.keys() or name in _SHARED
        setting = next(settings.candidates([*scopes, ()] if shared else scopes, name), None)
        if setting is not None:
            value = value_for(parser, action, setting)
            _check(name, value, setting)
            found[name] = value[0] if isinstance(value, list) and not is_repeatable(action) else value
    return found


def _check(name: str, value: Value, setting: Setting) -> None:
    """Reads the value of a scenario's option, which Locust's parser takes as it is.

    Raises:
        UsageError: it is refused; the message names the source.
    """
    option = name.replace("-", "_")
    if option not in OPTIONS or not isinstance(value, list):
        return
    try:
        for text in value:
            read_option(option, text.strip())
            if option == "arrivals":
                read_arrivals(text, 1)
    except UsageError as error:
        raise UsageError(f"{setting.source}: {str(error).removeprefix(f'--{name}: ')}") from error


def _stream(name: str, values: Mapping[str, Value]) -> Callable[[], io.StringIO]:
    """A configuration file of Locust: it reads TOML, by the file's name, in the table `[tool.locust]`."""
    # A JSON text is one of TOML, but for this character.
    lines = [f"{option} = {json.dumps(value, ensure_ascii=False)}\n" for option, value in values.items()]
    text = "[tool.locust]\n" + "".join(lines).replace("\x7f", "\\u007f")

    def opened() -> io.StringIO:
        stream = io.StringIO(text)
        stream.name = f"{name}.toml"
        return stream

    return opened
