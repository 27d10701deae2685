"""Whatever the Python API takes refuses a value of another type, by the name of the field or argument."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import api
from bench.core.errors import UsageError
from bench.results.run_reader import Run as RunFolder

FUNCTIONS = sorted(name for name in api.__all__ if inspect.isfunction(getattr(api, name)))


def arguments(function: Any) -> dict[str, Any]:
    hints = {name: hint for name, hint in inspect.unwrap(function).__annotations__.items() if name != "return"}
    return typing.get_type_hints(types.SimpleNamespace(__annotations__=hints), inspect.unwrap(function).__globals__)


def classes(hint: Any) -> Iterator[type]:
    """The classes in an annotation; of an abstract one those that can be made."""
    if inspect.isclass(hint) and not typing.get_origin(hint):
        yield hint
        for below in hint.__subclasses__() if hint.__module__.startswith("bench.") else ():
            yield from classes(below)
    for inner in typing.get_args(hint):
        if inner is not Ellipsis and not isinstance(inner, list):
            yield from classes(inner)


def taken() -> list[type]:
    """The dataclasses that the functions of the API take, and those in their fields."""
    found: dict[type, None] = {}
    waiting = [kind for name in FUNCTIONS for hint in arguments(getattr(api, name)).values() for kind in classes(hint)]
    while waiting:
        kind = waiting.pop()
        # A run is opened by read_run, not made.
        if kind in found or not dataclasses.is_dataclass(kind) or inspect.isabstract(kind) or kind is RunFolder:
            continue
        found[kind] = None
        waiting += [inner for hint in typing.get_type_hints(kind).values() for inner in classes(hint)]
    return sorted(found, key=lambda kind: kind.__name__)


TAKEN = taken()


def test_all_specs_are_looked_at() -> None:
    names = {kind.__name__ for kind in TAKEN}
    assert {"RunSpec", "GateSpec", "Variant", "SweepSpec", "Scale", "Slo", "PlanRequest", "PlanOptions"} < names
    assert {"Target", "Access", "TlsOptions", "ClosedLoop", "Poisson", "Ramp", "Step", "Burst", "Objective"} < names


@pytest.mark.parametrize("kind", TAKEN, ids=[kind.__name__ for kind in TAKEN])
def test_fields_of_another_type_are_refused(kind: Any) -> None:
    made = object.__new__(kind)
    for entry in dataclasses.fields(kind):
        object.__setattr__(made, entry.name, object())
    first = dataclasses.fields(kind)[0].name
    with pytest.raises(UsageError, match=rf"^{kind.__name__}: {first} is an object; give "):
        made.__post_init__()


LOAD = api.RunSpec(scenario="x", protocol="rest", arrivals=api.parse_arrivals("closed:users=1"), users=1, duration=1.0)
SIDE = api.Variant("a", api.parse_target("http://localhost:8501"), Path("model"))
SPECS: list[Any] = [
    LOAD,
    api.GateSpec(baseline=SIDE, candidate=SIDE),
    api.SweepSpec(load=LOAD, slo=api.Slo.parse("p99=250ms"), out=Path("out")),
    api.QUICK,
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: type(spec).__name__)
def test_each_field_of_a_spec_is_checked_by_its_name(spec: Any) -> None:
    for entry in dataclasses.fields(spec):
        with pytest.raises(UsageError, match=rf"^{type(spec).__name__}: {entry.name} is an object; give "):
            dataclasses.replace(spec, **{entry.name: object()})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_of_another_type_are_refused(name: str) -> None:
    function = getattr(api, name)
    names = list(arguments(function))
    required = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
    ]
    with pytest.raises(UsageError, match=rf"^{name}: {names[0]}(\[0\])? is an object; give "):
        function(*[object()] * len(required))


def test_a_text_is_not_what_it_stands_for() -> None:
    wrong: Any = "poisson:10"
    with pytest.raises(UsageError, match=r"^RunSpec: arrivals is a str; give Arrivals$"):
        dataclasses.replace(LOAD, arrivals=wrong)
    with pytest.raises(UsageError, match=r"^gate: metrics is a str; give Sequence of str$"):
        api.gate("a", "b", metrics="from_due_p50")


def test_headers_take_pairs_and_show_no_value() -> None:
    for wrong in ({"Authorization": "secret"}, "Authorization:secret", [("Authorization", "secret", "more")], [5]):
        with pytest.raises(UsageError) as caught:
            api.Headers(wrong)  # type: ignore[arg-type]
        assert "secret" not in str(caught.value)
