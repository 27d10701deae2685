"""Options of an `argparse` parser as settings: their names, and the words of a command line for a value."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bench.config.sources import Setting, read_toml
from bench.core.errors import UsageError, did_you_mean, printable

MOST_VALUES: Final = 1000
MOST_COUNT: Final = 10
_TRUTH: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
# Actions that end the command, or that are sub-commands.
_OTHER: Final = (argparse._HelpAction, argparse._VersionAction, argparse._SubParsersAction)


def options_of(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """The options that a variable or a file can set, by their names without the leading dashes."""
    for action in parser._actions:
        name = name_of(action)
        if name and name != "config" and not isinstance(action, _OTHER):
            yield name, action


def name_of(action: argparse.Action) -> str:
    """The name of an option: its first long one, without the leading dashes; "" of a positional argument."""
    return next((text[2:] for text in action.option_strings if text.startswith("--")), "")


def kind_of(action: argparse.Action) -> tuple[Any, ...]:
    """What two options of the same name must have in common to be one option: how `--help` shows their value."""
    return type(action), action.nargs, action.metavar


def find_option(parser: argparse.ArgumentParser, name: str) -> argparse.Action | None:
    """The option of a parser with a name."""
    return next((action for found, action in options_of(parser) if found == name), None)


def rivals_of(parser: argparse.ArgumentParser, action: argparse.Action) -> list[argparse.Action]:
    """The options that exclude an option: those of its group, and those that its attribute `excludes` names."""
    groups = (group._group_actions for group in parser._mutually_exclusive_groups)
    found = [other for group in groups if action in group for other in group if other is not action]
    named = getattr(action, "excludes", ())
    return found + [other for name, other in options_of(parser) if name in named]


def value_for(parser: argparse.ArgumentParser, action: argparse.Action, setting: Setting) -> bool | int | list[str]:
    """The value of an option: whether a switch is on, how often one is given that counts, or texts.

    Args:
        parser: the option's parser, which checks the value.
        action: the option.
        setting: the value.

    Raises:
        UsageError: the option does not take the value; the message names the source.
    """
    value = given_value(action, setting)
    for text in value if isinstance(value, list) else ():
        _check(parser, action, text, setting.source)
    return value


def given_value(action: argparse.Action, setting: Setting) -> bool | int | list[str]:
    """As `value_for`, with texts that the option's parser has not read."""
    try:
        if isinstance(action, argparse._CountAction):
            return _count(setting)
        if action.nargs == 0 or (action.nargs == "?" and _is_truth(setting)):
            return _truth(setting)
        return _texts(action, setting)
    except ValueError as error:
        # Python neither reads nor shows over 4300 decimal digits; TOML has numbers in other bases, which it reads.
        raise UsageError(f"{setting.source}: the number has too many digits; give a smaller one") from error


def words_for(parser: argparse.ArgumentParser, action: argparse.Action, setting: Setting) -> list[str]:
    """The words of a command line that give an option a value; none for a switch that is off.

    Args:
        parser: the option's parser, which checks the value.
        action: the option.
        setting: the value.

    Raises:
        UsageError: as `value_for`.
    """
    option = f"--{name_of(action)}"
    value = value_for(parser, action, setting)
    if isinstance(value, list):
        return [f"{option}={text}" for text in value]
    if not value and isinstance(action, argparse.BooleanOptionalAction):
        return [f"--no-{option[2:]}"]
    return [option] * value


def is_repeatable(action: argparse.Action) -> bool:
    """Whether an option takes several values."""
    return isinstance(action, argparse._AppendAction) or action.nargs in ("*", "+")


def _check(parser: argparse.ArgumentParser, action: argparse.Action, text: str, source: str) -> None:
    """Reads a value by the option's own parser.

    Raises:
        UsageError: it is refused.
    """
    try:
        parser._get_values(action, [text])
    except argparse.ArgumentError as error:
        raise UsageError(f"{source}: {error.message}") from error
    except UsageError as error:
        reason = str(error).removeprefix(f"{'/'.join(action.option_strings)}: ")
        raise UsageError(f"{source}: {reason}") from error


def _texts(action: argparse.Action, setting: Setting) -> list[str]:
    """The values of an option as texts: several of a repeatable one."""
    repeatable = is_repeatable(action)
    value = _listed(setting) if repeatable and setting.variable else setting.value
    if not isinstance(value, list):
        return [_text(value, setting.source)]
    if not repeatable:
        raise UsageError(f"{setting.source}: the option takes one value; give it without a list")
    if len(value) > MOST_VALUES:
        raise UsageError(f"{setting.source}: {len(value):,} values are too many; give {MOST_VALUES:,} at most")
    return [_text(entry, setting.source) for entry in value]


def _listed(setting: Setting) -> Any:
    """The text of a variable, or the values in it if it is a TOML list."""
    text = setting.value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return setting.value
    try:
        return read_toml(f"values = {text}")["values"]
    except (ValueError, RecursionError) as error:
        if text[1:].lstrip()[:1] in ('"', "'"):
            raise UsageError(f'{setting.source}: cannot read the list; write it like ["one", "two"]') from error
        # An address like [::1].
        return setting.value


def _text(value: Any, source: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    shown = "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else str(value).lower()
    raise UsageError(
        f"{source}: the option takes a text or a number, not {shown}; write a number, or the text in quotes"
    )


def _is_truth(setting: Setting) -> bool:
    """Whether an option whose value may be left out is given as a switch is."""
    return setting.value.strip().lower() in _TRUTH if setting.variable else isinstance(setting.value, bool)


def _truth(setting: Setting) -> bool:
    """Whether a switch is on."""
    value = _TRUTH.get(setting.value.strip().lower()) if setting.variable else setting.value
    if not isinstance(value, bool):
        shown = printable(str(setting.value))
        hint = did_you_mean(shown, ("true", "false"))
        raise UsageError(f"{setting.source}: {shown!r} is not true or false, which a switch takes{hint}")
    return value


def _count(setting: Setting) -> int:
    """How often a switch is given that counts."""
    value = setting.value
    if setting.variable and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value <= MOST_COUNT:
            return value
        raise UsageError(f"{setting.source}: {value} is out of range; give a number from 0 to {MOST_COUNT}")
    return int(_truth(setting))


def given_options(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[dict[str, str | None], int]:
    """The options on a command line, as argparse finds them where options cannot be abbreviated.

    Args:
        parser: knows the options.
        words: the command line after the parser's own word.

    Returns:
        The last value of each option that is given, by `name_of`, None if it takes none; and the index of the word of
        the sub-command, or that of the end.
    """
    commands = any(isinstance(action, argparse._SubParsersAction) for action in parser._actions)
    given: dict[str, str | None] = {}
    index = 0
    while index < len(words) and words[index] != "--":
        word, index = words[index], index + 1
        if not word.startswith("-") or word == "-":
            if commands:
                return given, index - 1
            continue
        name, equals, value = word.partition("=")
        found, attached = _named(parser, name)
        for action in found:
            follows = not equals and not attached and _takes_next(action, words[index : index + 1])
            given[name_of(action)] = value if equals else words[index] if follows else None
            index += follows
    return given, len(words)


def _named(parser: argparse.ArgumentParser, name: str) -> tuple[list[argparse.Action], bool]:
    """The options that a word names, several short ones in `-qv`, and whether it has the value as well, `-ofile`."""
    known = parser._option_string_actions
    if name in known or name.startswith("--"):
        return ([known[name]] if name in known else []), False
    found = []
    for index, letter in enumerate(name[1:], 2):
        action = known.get(f"-{letter}")
        if action is None:
            break
        found.append(action)
        if action.nargs != 0:
            return found, index < len(name)
    return found, False


def _takes_next(action: argparse.Action, following: Sequence[str]) -> bool:
    """Whether the word after an option is its value."""
    if action.nargs == 0 or not following:
        return False
    return action.nargs != "?" or not following[0].startswith("-")
