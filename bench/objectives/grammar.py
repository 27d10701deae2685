"""The text of objectives: `p99<=250ms,errors<=0.1%,wrong=0,throughput>=50/s`.

`=` is at most, the only sign that needs no quotes in a shell. A quantity has one direction: a latency or a share is
limited from above, a rate from below; the other sign is refused as an error of typing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.core.errors import UsageError, did_you_mean
from bench.core.types import checked_fields
from bench.core.units import (
    format_percent,
    format_rate,
    format_seconds,
    parse_duration,
    parse_fraction,
    parse_rate,
)
from bench.stats.percentiles import PERCENTILES

EXAMPLE: Final = "p99<=250ms,errors<=0.1%,wrong=0,throughput>=50/s"
_SIGNS: Final = {"≤": "<=", "≥": ">="}


@dataclass(frozen=True, slots=True)
class Quantity:
    """What an objective limits.

    Args:
        metric: name of the metric in `bench.analysis.metrics`.
        at_most: whether the limit is an upper one.
        parse: reads a limit, base units.
        text: writes a limit so that `parse` reads the same value.
        figure: formats a value for people with so many significant digits.
    """

    metric: str
    at_most: bool
    parse: Callable[[str], float]
    text: Callable[[float], str]
    figure: Callable[[float, int], str]


def _fraction(text: str) -> float:
    """A fraction in percent, or 0; a bare 0.1 is ambiguous and refused."""
    fraction = parse_fraction(f"{text}%" if _is_bare(text) else text)
    if fraction and _is_bare(text):
        raise UsageError(f"{text!r} is a fraction without a unit; write {text}%")
    return fraction


def _is_bare(text: str) -> bool:
    return not text.endswith("%")


def duration_text(seconds: float) -> str:
    """`250ms`, with all digits."""
    text = f"{seconds * 1e3:.12g}"
    return f"{text}ms" if re.fullmatch(r"[\d.]+", text) else f"{seconds!r}s"


def fraction_text(fraction: float) -> str:
    """`0.1%`; `0` is 0."""
    return f"{100 * fraction:.12g}%" if fraction else "0"


def _rate_text(rate: float) -> str:
    return f"{rate!r}".removesuffix(".0") + "/s"


def _latencies() -> dict[str, Quantity]:
    return {
        f"{prefix}{name}": Quantity(f"{clock}_{name}", True, parse_duration, duration_text, format_seconds)
        for prefix, clock in (("", "from_due"), ("send-", "from_send"))
        for name in ("mean", *PERCENTILES, "max")
    }


QUANTITIES: Final[Mapping[str, Quantity]] = {
    **_latencies(),
    "errors": Quantity("error_share", True, _fraction, fraction_text, format_percent),
    "wrong": Quantity("wrong_share", True, _fraction, fraction_text, format_percent),
    "throughput": Quantity("throughput", False, parse_rate, _rate_text, format_rate),
    "words": Quantity("word_rate", False, parse_rate, _rate_text, format_rate),
    "sentences": Quantity("sentence_rate", False, parse_rate, _rate_text, format_rate),
}
"""By the name in the text of an objective."""


@dataclass(frozen=True, slots=True)
@checked_fields
class Objective:
    """One objective.

    Args:
        name: of its quantity, one of `QUANTITIES`.
        limit: base units: seconds, a fraction, or events/s.

    Raises:
        UsageError: an unknown quantity.
    """

    name: str
    limit: float

    def __post_init__(self) -> None:
        if self.name not in QUANTITIES:
            raise UsageError(f"{self.name!r} is not a quantity of objectives; these are {', '.join(QUANTITIES)}")

    @property
    def quantity(self) -> Quantity:
        """What it limits."""
        return QUANTITIES[self.name]

    @property
    def counted(self) -> bool:
        """Whether the requests of the run itself decide, without an interval: none may fail, or exceed a maximum."""
        return self.name.endswith("max") or (self.name in ("errors", "wrong") and self.limit == 0)

    def figure(self, value: float, digits: int = 3) -> str:
        """A value of its quantity for people."""
        return self.quantity.figure(value, digits)

    def __str__(self) -> str:
        sign = "=" if not self.limit else "<=" if self.quantity.at_most else ">="
        return f"{self.name}{sign}{self.quantity.text(self.limit)}"


def parse_objectives(
    text: str, known: Mapping[str, Quantity] = QUANTITIES, example: str = EXAMPLE
) -> tuple[Objective, ...]:
    """The objectives in `text`, separated by commas.

    Args:
        text: what the user wrote.
        known: the quantities that are accepted here.
        example: of a text, for messages.

    Raises:
        UsageError: an unknown quantity, one twice, a malformed limit or one without a unit, or the wrong sign.
    """
    found: dict[str, Objective] = {}
    for part in text.split(","):
        name, sign, value = _split(part)
        if not sign or name in found:
            what = f"{name} is there twice" if sign else f"cannot parse {part.strip()!r}"
            raise UsageError(f"{text!r} is not an objective: {what}; write it like {example}")
        if name not in known:
            near = did_you_mean(name, known)
            raise UsageError(
                f"{name!r} is not a limit of an objective; the limits are {', '.join(known)}, like {example}{near}"
            )
        quantity = known[name]
        if quantity.at_most == (sign == ">=") or (not quantity.at_most and sign == "="):
            right, bound = ("<=", "an upper") if quantity.at_most else (">=", "a lower")
            raise UsageError(f"{part.strip()!r}: {name} takes {bound} limit; write {name}{right}{value}")
        found[name] = Objective(name, _limit(name, value, quantity.parse))
    return tuple(found.values())


def _split(part: str) -> tuple[str, str, str]:
    """Name, sign and value; empty texts where there is no sign."""
    for symbol, sign in _SIGNS.items():
        part = part.replace(symbol, sign)
    match = re.fullmatch(r"([^<>=]*)(<=|>=|=)(.*)", part.strip(), re.DOTALL)
    return (match[1].strip(), match[2], match[3].strip()) if match else ("", "", "")


def _limit(name: str, text: str, parse: Callable[[str], float]) -> float:
    """A limit; errors name it."""
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"{name} of the objective: {error}") from error
