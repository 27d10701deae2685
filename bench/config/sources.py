"""The variables and the file that settings come from.

A setting has a scope: the words of a command, such as `("gate", "calibrate")`, or `()` for all commands. In a file
the scope is a table, `[gate.calibrate]`; in a variable it is part of the name, `BERTBENCH_GATE_CALIBRATE_SEED`.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.core.errors import UsageError, naming, one_line

Scope = tuple[str, ...]

PREFIX: Final = "BERTBENCH_"
FILE_VARIABLE: Final = "BERTBENCH_CONFIG"
"""Names the file."""
DEFAULT_FILE: Final = "bertbench.toml"
PYPROJECT: Final = "pyproject.toml"
TABLE: Final = "tool.bertbench"
"""Of the settings in a `pyproject.toml`."""
MOST_BYTES: Final = 1_000_000
_MOST_STEPS: Final = 20_000_000
"""Of the search for tables while a text is read, some seconds."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of an option outside the command line.

    Args:
        source: where it stands, for messages: `BERTBENCH_USERS`, or `users in [run] of bertbench.toml`.
        value: the text of a variable, or a TOML value.
        variable: whether it is a variable's.
        scope: the commands that it is for.
    """

    source: str
    value: Any
    variable: bool
    scope: Scope

    @property
    def rank(self) -> tuple[bool, int]:
        """The lower one wins: variables before the file, narrow scopes before wide ones."""
        return not self.variable, -len(self.scope)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The tables of a file.

    Args:
        name: of the file in messages.
        root: its settings, by the keys as they are written; the table `tool.bertbench` of a `pyproject.toml`.
        prefix: name of that table, or "".
    """

    name: str
    root: Mapping[str, Any]
    prefix: str = ""

    def place(self, scope: Scope) -> str:
        """What follows a key in messages: `in [run] of bertbench.toml`."""
        table = self.table_name(scope)
        return f"in [{table}] of {self.name}" if table else f"in {self.name}"

    def table_name(self, scope: Scope) -> str:
        """What stands in the brackets above the settings of a scope: `tool.bertbench.run`; "" for the whole file."""
        return ".".join([*filter(None, [self.prefix]), *scope])

    def table(self, scope: Scope) -> Mapping[str, Any]:
        """The entries of a scope's table; empty where there is none."""
        entries = self.root
        for word in scope:
            below = entries.get(word)
            entries = below if isinstance(below, dict) else {}
        return entries

    def setting(self, scope: Scope, option: str) -> Setting | None:
        """The value of an option in a scope's table.

        Args:
            scope: the table.
            option: name of the option, with dashes.

        Raises:
            UsageError: it is there twice, with dashes and with underscores.
        """
        table = self.table(scope)
        keys = [key for key in table if option_name(key) == option and not isinstance(table[key], dict)]
        if len(keys) > 1:
            raise UsageError(f"{' and '.join(keys)} {self.place(scope)} are the same option; keep one")
        return Setting(f"{keys[0]} {self.place(scope)}", table[keys[0]], False, scope) if keys else None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings outside the command line.

    Args:
        variables: environment variables, those of other programs too.
        file: the file, if there is one.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    file: ConfigFile | None = None

    def candidates(self, scopes: Sequence[Scope], option: str) -> Iterator[Setting]:
        """The values of an option, the one that wins first.

        Args:
            scopes: from the narrowest.
            option: name of the option, with dashes.

        Raises:
            UsageError: as `ConfigFile.setting`.
        """
        for scope in scopes:
            name = variable_name(scope, option)
            # Templates of CI set variables to nothing where there is no value.
            if text := self.variables.get(name):
                yield Setting(name, text, True, scope)
        for scope in scopes:
            found = self.file.setting(scope, option) if self.file else None
            if found is not None:
                yield found


def option_name(key: str) -> str:
    """The name of an option: its key in a file with dashes."""
    return key.replace("_", "-")


def variable_name(scope: Scope, option: str) -> str:
    """The environment variable of an option in a scope."""
    return PREFIX + "_".join((*scope, option)).replace("-", "_").upper()


def read_settings(environment: Mapping[str, str], path: Path | None = None, folder: Path = Path()) -> Settings:
    """The settings of a process.

    Args:
        environment: its environment variables.
        path: the file of `--config`; None takes `BERTBENCH_CONFIG`, then the file of the folder.
        folder: the current folder.

    Raises:
        UsageError: the file cannot be read.
    """
    variables = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
    if path is not None:
        return Settings(variables, read_file(path))
    if not (given := environment.get(FILE_VARIABLE)):
        return Settings(variables, _file_of(folder))
    try:
        return Settings(variables, read_file(Path(given)))
    except OSError as error:
        raise UsageError(f"{FILE_VARIABLE}: {one_line(error)}") from error


def read_file(path: Path) -> ConfigFile:
    """The settings in a file; of a `pyproject.toml` those in `[tool.bertbench]`.

    Raises:
        UsageError: it cannot be read, or is a `pyproject.toml` without that table.
    """
    if path.name != PYPROJECT:
        return ConfigFile(str(path), _parsed(path))
    found = _project_file(path)
    if found is None:
        raise UsageError(f"{path} has no table [{TABLE}]; put the settings there, or name another file")
    return found


def _file_of(folder: Path) -> ConfigFile | None:
    """The file of a folder: `bertbench.toml`, or a `pyproject.toml` that has the table."""
    own, project = folder / DEFAULT_FILE, folder / PYPROJECT
    # Another project's file matters only if it names this program.
    shared = _project_file(project) if project.is_file() and b"bertbench" in _content(project) else None
    if not own.is_file():
        return shared if shared and shared.root else None
    if shared and shared.root:
        raise UsageError(f"both {own} and [tool.bertbench] of {project} have settings; keep one of them")
    return read_file(own)


def _project_file(path: Path) -> ConfigFile | None:
    """The settings in a `pyproject.toml`; None if it has no table of them."""
    tools = _parsed(path).get("tool")
    table = tools.get("bertbench") if isinstance(tools, dict) else None
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"tool.bertbench in {path} is not a table; write its settings under [{TABLE}]")
    return None if table is None else ConfigFile(str(path), table, TABLE)


def _content(path: Path) -> bytes:
    with naming(path), path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path} has over {MOST_BYTES:,} bytes; settings take far less: name another file")
    return data


class _DeepKeyError(RecursionError):
    """Names of tables or dotted keys whose reading would take minutes to hours."""


def read_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is not TOML.
        RecursionError: it is nested too deeply.
    """
    _check_depth(text)
    return tomllib.loads(text)


def _check_depth(text: str) -> None:
    """Refuses a text whose dotted keys `tomllib` would take too long for.

    It looks up each prefix of a key from the root on, below a header from the header's root: quadratic in the parts.
    Parts are counted by the dots of a line, which neither a key nor a header can leave; those of values count too, so
    the bound is far above what values have.

    Raises:
        RecursionError: with the line that has the most.
    """
    steps = header = most = place = 0
    # Only these end a line of TOML: a quoted part may hold U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        dots = line.count(".")
        if dots > most:
            most, place = dots, number
        if line.lstrip(" \t").startswith("["):
            # A value can look like a header, and must not end one.
            header = max(header, dots)
        steps += (dots + 1) * (header + dots + 1)
        if steps > _MOST_STEPS:
            raise _DeepKeyError(f"line {place} has {most:,} dots")


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        return read_toml(_content(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start + 1}); save it as UTF-8") from error
    except RecursionError as error:
        reason = f" ({error})" if isinstance(error, _DeepKeyError) else ""
        raise UsageError(f"{path} is nested too deeply{reason}; settings are at most tables in tables") from error
    except ValueError as error:
        # Of a whole number of thousands of digits too, which tomllib passes on from int().
        reason = re.sub(r"\s+", " ", str(error))
        raise UsageError(f"{path} is not TOML: {reason[:200]}; correct it") from error
