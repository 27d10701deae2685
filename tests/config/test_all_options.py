"""Every option of every command: flag, variable and file give the same."""

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

import bench.config
from bench.cli import COMMANDS, run
from bench.cli.dispatch import full_parser, make_parser
from bench.config.actions import name_of, options_of
from bench.config.command_line import WITHOUT_SETTINGS, read_command_line
from bench.config.names import NAMES_FILE, known_names, misspelt_variables
from bench.config.resolution import Command, every_command
from bench.config.sources import variable_name
from bench.core.errors import UsageError

# One of these is a value of each option that takes one.
VALUES = [
    "7",
    "8",
    "7s",
    "70%",
    "7/s",
    "0.3",
    "grpc://localhost:7",
    "localhost:7",
    "debug",
    "7MB",
    "X-Team: search",
    "seven",
]
# Those whose values are parsed by the command.
OWN_VALUES = {
    "arrivals": "poisson:rate=7", "signature": "serving_default", "slo": "p99=7ms", "plan": "rate=7/s",
    "transport": "requests", "until": "p99+-7%", "otlp-endpoint": "http://collector:4318", "ways": "rest-fast",
}  # fmt: skip


@lru_cache(maxsize=1)
def top() -> argparse.ArgumentParser:
    return full_parser()


COMMAND_LIST = [
    command
    for word in COMMANDS
    for command in every_command(make_parser([word]))
    if command.scope[0] == word and command.scope not in WITHOUT_SETTINGS
]


def value_of(action: argparse.Action) -> str:
    """A value that an option takes, and that is not its default; "" for a switch."""
    if action.nargs == 0:
        return ""
    if action.choices:
        return next(str(choice) for choice in action.choices if choice != action.default)
    for text in [OWN_VALUES.get(name_of(action)), *VALUES]:
        try:
            if text is not None and (action.type(text) if callable(action.type) else text) != action.default:
                return text
        except (UsageError, ValueError):
            continue
    raise AssertionError(f"no value for {action.option_strings}")


def needed(command: Command, without: argparse.Action) -> list[str]:
    """The sub-command's words, the positional arguments and the required options."""
    words = list(command.scope)
    for action in command.parser._actions:
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
            words += [value_of(action)] if action.nargs in (None, "+") else []
        elif action.required and action.option_strings and action is not without:
            words.append(f"--{name_of(action)}={value_of(action)}")
    return words


def outcomes(command: Command, name: str, action: argparse.Action) -> Iterator[tuple[str, argparse.Namespace]]:
    """What the program makes of the option given in each way, and of the option not given."""
    text, words = value_of(action), needed(command, action)
    shown = json.dumps(text) if text else "true"
    flag = f"--{name}={text}" if text else f"--{name}"
    table = ".".join(command.scope)
    if not action.required:
        yield "not given", top().parse_args(words)
    yield "flag", top().parse_args([*words, flag])
    for scope in (command.scope, ()):
        variables = {variable_name(scope, name): text or "true"}
        yield "variable", top().parse_args(read_command_line(top(), words, variables).words)
    for content in (f"{name} = {shown}", f"[{table}]\n{name.replace('-', '_')} = {shown}"):
        Path("bertbench.toml").write_text(content)
        yield "file", top().parse_args(read_command_line(top(), words, {}).words)
    Path("bertbench.toml").unlink()
    Path("pyproject.toml").write_text(f"[tool.bertbench.{table}]\n{name} = {shown}")
    yield "file", top().parse_args(read_command_line(top(), words, {}).words)
    Path("pyproject.toml").unlink()


@pytest.mark.parametrize("command", COMMAND_LIST, ids=lambda command: " ".join(command.scope))
def test_flag_variable_and_file_give_the_same_options(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (loaded,) = (found for found in every_command(top()) if found.scope == command.scope)
    if any(isinstance(action, argparse._SubParsersAction) and action.required for action in loaded.parser._actions):
        pytest.skip("a group of commands, which does nothing itself")
    for name, action in options_of(loaded.parser):
        found = list(outcomes(loaded, name, action))
        ways = {way for way, _ in found}
        assert ways >= {"flag", "variable", "file"}
        assert len({repr(namespace) for way, namespace in found if way != "not given"}) == 1, f"{command.scope} {name}"
        (without,) = [namespace for way, namespace in found if way == "not given"] or [None]
        assert without is None or repr(without) != repr(found[-1][1]), f"{command.scope} {name} changes nothing"


def specs(args: argparse.Namespace) -> str:
    """The runs of `bertbench run`, or why there are none."""
    try:
        return repr([replace(spec, group="") for spec in run.plan(args)])
    except UsageError as error:
        return str(error)


def test_flag_variable_and_file_give_the_same_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = (found for found in every_command(top()) if found.scope == ("run",))
    made = 0
    for name, action in options_of(command.parser):
        found = [(way, specs(namespace)) for way, namespace in outcomes(command, name, action)]
        assert len({text for way, text in found if way != "not given"}) == 1, name
        made += found[-1][1].startswith("[RunSpec")
    assert made > 20


def test_every_option_is_of_a_kind_that_settings_can_give() -> None:
    for command in every_command(top()):
        for action in command.parser._actions:
            if action.option_strings:
                assert action.nargs in (None, 0, "?"), f"{command.scope} {action.option_strings}"
                assert name_of(action), f"{command.scope} {action.option_strings} has no long name"


def test_the_package_has_the_names_of_all_options() -> None:
    """After a change of options `python -m tests.support.option_names` writes the file again."""
    command = [sys.executable, "-m", "tests.support.option_names", "--print"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert (Path(bench.config.__file__).parent / NAMES_FILE).read_text() == done.stdout, (
        "run python -m tests.support.option_names"
    )


def test_no_variable_stands_for_two_options() -> None:
    names = known_names()
    scopes = {scope[:size] for scope in names.options for size in range(len(scope) + 1)}
    found = [(variable_name(scope, option), scope, option) for scope in scopes for option in names.within(scope)]
    for variable, same in itertools.groupby(sorted(found), key=lambda entry: entry[0]):
        assert len(list(same)) == 1, variable


@pytest.mark.parametrize("word", ["TOKEN", "API_KEY", "PASSWORD", "URL", "AUTHORIZATION", "RUN", "CI"])
def test_a_user_s_own_variable_is_no_misspelling(word: str) -> None:
    assert misspelt_variables([f"BERTBENCH_{word}"], known_names()) == []


@pytest.mark.parametrize("word", ["USRES", "TARGT", "RUN_DURATON", "GATE_MIN_EFECT", "MODELDIR", "CONFG"])
def test_a_misspelt_variable_is(word: str) -> None:
    (line,) = misspelt_variables([f"BERTBENCH_{word}"], known_names())
    assert "did you mean BERTBENCH_" in line


def namespace(words: str) -> Any:
    return top().parse_args(words.split())


@pytest.mark.parametrize("words", ["run rest --user 4", "run rest --dur 3s", "gate --base x", "--conf x run rest"])
def test_options_are_not_abbreviated(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        namespace(words)
    assert "unknown option --" in capsys.readouterr().err
