"""Values against the annotations of what takes them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from bench.core.errors import UsageError
from bench.core.types import Floats, check_type, checked_call, checked_fields


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        *[(1, int), (1, float), (1.5, float), (np.float64(1), float), (True, bool), ("a", str), (None, None)],
        *[(object(), Any), (None, int | None), (Path("a"), Path | None), ("a", str | PathLike[str])],
        *[((), tuple[int, ...]), ((1, 2), tuple[int, ...]), ((1, "a"), tuple[int, str])],
        *[(["a"], Sequence[str]), (("a", Path("b")), Sequence[str | PathLike[str]]), ("a", str | Sequence[int])],
        *[({"a": 1}, Mapping[str, float]), (iter([1]), Iterable[str]), (print, Callable[[str], None])],
        *[("a", Literal["a", "b"]), (np.zeros(2), Floats), ([1], Sequence[str] | Sequence[int])],
    ],
)
def test_a_value_of_the_type_passes(value: Any, hint: Any) -> None:
    assert check_type("x", value, hint) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize(
    ("value", "hint", "text"),
    [
        ("secret", int, "x is a str; give int"),
        (True, int, "x is a bool; give int"),
        (True, float, "x is a bool; give float"),
        (1, bool, "x is an int; give bool"),
        (np.int64(1), int, "x is an int64; give int"),
        (None, Path, "x is None; give Path"),
        ("secret", Path | None, "x is a str; give Path or None"),
        (1, str | PathLike[str] | None, "x is an int; give str, PathLike or None"),
        ([1], tuple[int, ...], "x is a list; give tuple of int"),
        ((1, "secret"), tuple[int, ...], "x[1] is a str; give int"),
        ((1,), tuple[int, str], "x is a tuple; give tuple of int and str"),
        ("secret", Sequence[str], "x is a str; give Sequence of str"),
        ("secret", Iterable[str], "x is a str; give Iterable of str"),
        ([1, None], str | Sequence[int], "x[1] is None; give int"),
        ({"a": "secret"}, Mapping[str, float], "x['a'] is a str; give float"),
        ({1: 1.0}, Mapping[str, float], "x (its keys) is an int; give str"),
        (1, Callable[[str], None], "x is an int; give a function"),
        (3, Literal["a", "b"], "x is an int; give 'a' or 'b'"),
        ([1.0], Floats, "x is a list; give ndarray"),
        ([1.5], Sequence[str] | Sequence[int], "x is a list with something of another type in it; give Sequence of"),
    ],
)
def test_another_type_is_refused_by_name_without_the_value(value: Any, hint: Any, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_type("x", value, hint)
    assert str(caught.value).startswith(text)
    assert "secret" not in str(caught.value)


def test_fields_are_checked_before_what_the_class_checks() -> None:
    @dataclass(frozen=True, slots=True)
    @checked_fields
    class Base:
        size: int

        def __post_init__(self) -> None:
            if self.size < 1:
                raise UsageError("too small")

    @dataclass(frozen=True, slots=True)
    class Derived(Base):
        name: str = ""

    assert Derived(1, "a").size == 1
    wrong: Any = "1"
    none: Any = None
    with pytest.raises(UsageError, match=r"^Base: size is a str; give int$"):
        Base(wrong)
    with pytest.raises(UsageError, match="too small"):
        Base(0)
    with pytest.raises(UsageError, match=r"^Derived: name is None; give str$"):
        Derived(1, none)


def test_arguments_are_checked_and_python_counts_them() -> None:
    @checked_call
    def total(first: int, *others: int, scale: float = 1.0) -> "NotThere":  # type: ignore[name-defined]  # noqa: F821
        return scale * sum((first, *others))

    wrong: Any = "1"
    assert total(1, 2, scale=2) == 6
    with pytest.raises(UsageError, match=r"total: others\[1\] is a str; give int$"):
        total(1, 2, wrong)
    with pytest.raises(UsageError, match=r"total: scale is a str; give float$"):
        total(1, scale=wrong)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        total()  # type: ignore[call-arg]
