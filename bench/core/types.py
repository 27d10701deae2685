"""Types that all parts share, and the check of values against the annotations of what takes them.

    @dataclass(frozen=True)
    @checked_fields
    class Point:
        x: float

    Point("1")     # UsageError: Point: x is a str; give float

Python looks at no annotation, so that a value of another type would fail later, somewhere else, with a TypeError.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import UsageError

Floats = NDArray[np.float64]
"""An array of double-precision numbers."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


def checked_fields(cls: type[_T]) -> type[_T]:
    """A class decorator, below `@dataclass`: each field is checked against its annotation before `__post_init__`.

    Making one raises UsageError where a value has another type; the message has no value, which may be a secret.
    """
    given = getattr(cls, "__post_init__", None)

    def check_then(self: Any) -> None:
        kind: Any = type(self)
        for name, hint in _field_hints(kind).items():
            check_type(f"{kind.__name__}: {name}", getattr(self, name), hint)
        if given is not None:
            given(self)

    cls.__post_init__ = check_then  # type: ignore[attr-defined]
    return cls


def checked_call(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A decorator: a call raises UsageError where an argument has another type than its annotation."""
    signature = inspect.signature(function)
    hints = functools.cache(lambda: _argument_hints(function))
    name = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            # Python's own words about it.
            return function(*args, **kwargs)
        for argument, value in bound.arguments.items():
            if argument in hints():
                check_type(f"{name}: {argument}", value, hints()[argument])
        return function(*args, **kwargs)

    return checked


def check_type(name: str, value: Any, hint: Any) -> None:
    """Refuses a value of another type.

    Args:
        name: of the value, for the message.
        value: what was given; what is in an iterator is not looked at, which would take it out.
        hint: an annotation.

    Raises:
        UsageError: it, or something in it, has another type.
    """
    hint = _plain(hint)
    members = [member for member in _members(hint) if _is(value, _plain(member))]
    if not members:
        raise UsageError(f"{name} is {_kind_of(value)}; give {_words(hint)}")
    if len(members) > 1:
        if not any(_fits(value, member) for member in members):
            raise UsageError(f"{name} is {_kind_of(value)} with something of another type in it; give {_words(hint)}")
        return
    for place, inner, expected in _inside(value, _plain(members[0])):
        check_type(f"{name}{place}", inner, expected)


def _fits(value: Any, hint: Any) -> bool:
    try:
        check_type("", value, hint)
    except UsageError:
        return False
    return True


def _inside(value: Any, hint: Any) -> Iterable[tuple[str, Any, Any]]:
    """Place, value and annotation of what a collection holds."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if not args or not isinstance(value, Collection) or not isinstance(origin, type):
        return
    if issubclass(origin, Mapping):
        for key, entry in value.items():  # type: ignore[attr-defined]
            yield " (its keys)", key, args[0]
            yield f"[{key!r}]", entry, args[1]
    elif issubclass(origin, tuple) and args[-1] is not Ellipsis:
        yield from ((f"[{index}]", entry, args[index]) for index, entry in enumerate(value))
    elif issubclass(origin, Iterable) and not issubclass(origin, np.ndarray):
        yield from ((f"[{index}]", entry, args[0]) for index, entry in enumerate(value))


def _is(value: Any, hint: Any) -> bool:
    """Whether the value is of an annotation's type, whatever is in it."""
    members = _members(hint)
    if len(members) > 1:
        return any(_is(value, _plain(member)) for member in members)
    origin = typing.get_origin(hint) or hint
    if origin is Any or isinstance(origin, TypeVar):
        return True
    if origin is None or origin is types.NoneType:
        return value is None
    if origin is Callable:
        return callable(value)
    if origin in (int, float):
        # Truth values are numbers to Python, and to nobody else.
        return isinstance(value, int if origin is int else int | float) and not isinstance(value, bool)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if not isinstance(origin, type):
        return True
    if isinstance(value, str | bytes) and issubclass(origin, Iterable) and not issubclass(origin, str | bytes):
        # A text is a sequence of texts, which nobody means.
        return False
    args = typing.get_args(hint)
    if origin is tuple and args and args[-1] is not Ellipsis and isinstance(value, tuple):
        return len(value) == len(args)
    return isinstance(value, origin)


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union; else the one."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _plain(hint: Any) -> Any:
    """An annotation without what `Annotated` adds."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint


@functools.cache
def _field_hints(kind: Any) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {entry.name: hints[entry.name] for entry in fields(kind)}


def _argument_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of a function's arguments; that of its result may name what only type checkers import."""
    owner = types.SimpleNamespace(
        __annotations__={name: hint for name, hint in function.__annotations__.items() if name != "return"}
    )
    found = typing.get_type_hints(owner, function.__globals__)
    several = inspect.Parameter.VAR_POSITIONAL
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is several and name in found:
            found[name] = types.GenericAlias(tuple, (found[name], ...))
    return found


def _kind_of(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _words(hint: Any) -> str:
    """An annotation in words: `tuple of str`, `Path or None`."""
    hint = _plain(hint)
    members = _members(hint)
    if len(members) > 1:
        texts = list(dict.fromkeys(map(_words, members)))
        return " or ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else texts[0]
    origin, args = typing.get_origin(hint), [arg for arg in typing.get_args(hint) if arg is not Ellipsis]
    if origin is typing.Literal:
        return " or ".join(map(repr, args))
    if hint is None or hint is types.NoneType:
        return "None"
    name = getattr(origin or hint, "__name__", str(hint))
    if origin is Callable:
        return "a function"
    if origin is None or not args or issubclass(origin, np.ndarray):
        return name
    if issubclass(origin, Mapping):
        return f"{name} of {_words(args[0])} to {_words(args[1])}"
    return f"{name} of {_either(map(_words, args))}" if issubclass(origin, Iterable) else name


def _either(texts: Iterable[str]) -> str:
    return " and ".join(texts)
