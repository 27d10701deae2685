"""Parses arrivals: a closed loop, or a schedule drawn before the run from a seed. Pure: no clock, no sleeping.

    parse_arrivals("poisson:rate=50").due_times(duration=60.0, seed=1)   # float64 seconds, sorted, in [0, 60)

Text forms (`str(arrivals)` gives the canonical one, which parses back to an equal value):

    closed:users=8[,think=100ms]                 each user sends, waits for the answer, pauses, sends again
    poisson:rate=50                              independent arrivals
    constant:rate=50                             evenly spaced
    ramp:from=5,to=80[,spacing=even]             linear over the whole run
    step:rates=10,20,40[,hold=30s][,spacing=..]  each rate for `hold` (default: equal shares), the last to the end
    burst:base=10,peak=80,every=20s,length=2s    the base rate, and the peak for the last `length` of each `every`
    trace:FILE[,column=NAME][,origin=first][,speed=2]   due times from a file, see `bench.workload.trace`

`spacing` is `poisson` (default: independent arrivals at the changing rate) or `even`. Rates also read `600/m`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench.core.errors import UsageError, did_you_mean
from bench.core.types import checked_call
from bench.core.units import parse_duration, parse_duration_or_zero, parse_rate
from bench.workload.due_times import (
    MOST_USERS,
    Arrivals,
    Burst,
    ClosedLoop,
    Constant,
    OpenLoop,
    Poisson,
    Ramp,
    Step,
    TraceArrivals,
)
from bench.workload.trace import read_trace

__all__ = [
    "MOST_USERS",
    "Arrivals",
    "Burst",
    "ClosedLoop",
    "Constant",
    "OpenLoop",
    "Poisson",
    "Ramp",
    "Step",
    "TraceArrivals",
    "parse_arrivals",
]


@checked_call
def parse_arrivals(text: str) -> Arrivals:
    """The arrivals written in `text`; the module's docstring has the forms.

    Raises:
        UsageError: an unknown kind or option, an option missing or out of range, a trace that cannot be read.
    """
    kind, colon, rest = text.strip().partition(":")
    kind = kind.strip().lower()
    if kind not in _KINDS:
        known = f"take one of {', '.join(_KINDS)}, like poisson:rate=50"
        raise UsageError(f"unknown arrivals {text!r}; {known}{did_you_mean(kind, _KINDS)}")
    if not colon or not rest.strip():
        raise UsageError(f"{text!r} has no options; write it like {_EXAMPLES[kind]}")
    return _KINDS[kind](rest.strip(), kind)


def _options(kind: str, text: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, str]:
    """Splits `a=1,b=2,3` into a: "1", b: "2,3": a comma separates options only if `name=` follows."""
    found: dict[str, str] = {}
    for part in re.split(r",(?=\s*[A-Za-z_-]+\s*=)", text):
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if not equals or name not in required + optional:
            near = did_you_mean(name, required + optional)
            raise UsageError(f"{kind} has no option {part.strip()!r}; write it like {_EXAMPLES[kind]}{near}")
        if name in found:
            raise UsageError(f"{kind} has {name} twice; write it like {_EXAMPLES[kind]}")
        found[name] = value.strip()
    for name in required:
        if not found.get(name):
            raise UsageError(f"{kind} needs {name}; write it like {_EXAMPLES[kind]}")
    return found


def _rate_or_zero(text: str) -> float:
    return 0.0 if re.fullmatch(r"(0+(\.0*)?|\.0+)(/(ms|s|m|h))?", text) else parse_rate(text)


def _parse_closed(text: str, kind: str) -> Arrivals:
    found = _options(kind, text, ("users",), ("think",))
    if not re.fullmatch(r"[0-9]{1,300}", found["users"]):
        raise UsageError(f"users is a whole number, not {found['users']!r}; write closed:users=8")
    return ClosedLoop(users=int(found["users"]), think=parse_duration_or_zero(found.get("think", "0")))


def _parse_rate_kind(text: str, kind: str) -> Arrivals:
    rate = parse_rate(_options(kind, text, ("rate",))["rate"])
    return Constant(rate) if kind == "constant" else Poisson(rate)


def _parse_ramp(text: str, kind: str) -> Arrivals:
    found = _options(kind, text, ("from", "to"), ("spacing",))
    start, stop = _rate_or_zero(found["from"]), _rate_or_zero(found["to"])
    return Ramp(spacing=found.get("spacing", "poisson"), start=start, stop=stop)


def _parse_step(text: str, kind: str) -> Arrivals:
    found = _options(kind, text, ("rates",), ("hold", "spacing"))
    hold = parse_duration(found["hold"]) if "hold" in found else None
    rates = tuple(parse_rate(rate) for rate in found["rates"].split(","))
    return Step(spacing=found.get("spacing", "poisson"), rates=rates, hold=hold)


def _parse_burst(text: str, kind: str) -> Arrivals:
    found = _options(kind, text, ("base", "peak", "every", "length"), ("spacing",))
    return Burst(
        spacing=found.get("spacing", "poisson"),
        base=_rate_or_zero(found["base"]),
        peak=parse_rate(found["peak"]),
        every=parse_duration(found["every"]),
        length=parse_duration(found["length"]),
    )


def _parse_trace(text: str, kind: str) -> Arrivals:
    # A file name may contain commas and equals signs, so only these three names begin an option.
    path, *parts = re.split(r",(?=(?:column|origin|speed)=)", text)
    options = _options(kind, ",".join(parts), (), ("column", "origin", "speed")) if parts else {}
    return TraceArrivals(read_trace(Path(path), options))


_KINDS: Final[Mapping[str, Callable[[str, str], Arrivals]]] = {
    "closed": _parse_closed,
    "poisson": _parse_rate_kind,
    "constant": _parse_rate_kind,
    "ramp": _parse_ramp,
    "step": _parse_step,
    "burst": _parse_burst,
    "trace": _parse_trace,
}

_EXAMPLES: Final = {
    "closed": "closed:users=8",
    "poisson": "poisson:rate=50",
    "constant": "constant:rate=50",
    "ramp": "ramp:from=5,to=80",
    "step": "step:rates=10,20,40,hold=30s",
    "burst": "burst:base=10,peak=80,every=20s,length=2s",
    "trace": "trace:due.csv,column=time",
}
