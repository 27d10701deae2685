"""What is promised: `p99=250ms,errors=0.1%,wrong=0`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from bench.capacity.queue.latency_table import COLUMNS
from bench.core.errors import UsageError, did_you_mean
from bench.core.units import format_apart, format_percent, format_seconds, parse_duration, parse_fraction

_EXAMPLE: Final = "p99=250ms,errors=0.1%,wrong=0"
_SHARES: Final = ("errors", "wrong")


@dataclass(frozen=True, slots=True)
class Slo:
    """A service level objective.

    Args:
        latency: limits in seconds, from due, by `bench.capacity.queue.latency_table.COLUMNS`; at least one.
        errors: largest share of requests that may end otherwise than well; None if there is no limit.
        wrong: largest share of checked answers that may be wrong; 0 is none at all.
    """

    latency: Mapping[str, float]
    errors: float | None = None
    wrong: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The objective in `text`.

        Raises:
            UsageError: an unknown name, a value that is none or has no unit, or no latency limit.
        """
        latency: dict[str, float] = {}
        shares: dict[str, float] = {}
        for part in text.split(","):
            name, equals, value = (word.strip() for word in part.partition("="))
            if not equals or name in latency or name in shares:
                raise UsageError(f"{text!r} is not an objective at {part.strip()!r}; write it like {_EXAMPLE}")
            if name in COLUMNS:
                latency[name] = _limit(name, value, parse_duration)
            elif name in _SHARES:
                shares[name] = _limit(name, value, _share)
            else:
                known, near = ", ".join((*COLUMNS, *_SHARES)), did_you_mean(name, (*COLUMNS, *_SHARES))
                raise UsageError(f"an objective has no {name!r}; it takes {known}, like {_EXAMPLE}{near}")
        if not latency:
            raise UsageError(f"{text!r} limits no latency, so every rate would do; write it like {_EXAMPLE}")
        return cls(latency, shares.get("errors"), shares.get("wrong", 0.0))

    def __str__(self) -> str:
        parts = [f"{name}={_duration(seconds)}" for name, seconds in self.latency.items()]
        if self.errors is not None:
            parts.append(f"errors={100 * self.errors:g}%")
        return ",".join([*parts, f"wrong={f'{100 * self.wrong:g}%' if self.wrong else 0}"])

    def broken(
        self, latency: Mapping[str, float | None], errors: float, wrong: float | None, *, tolerance: float = 0.0
    ) -> tuple[str, ...]:
        """Which of its limits measured figures break, one line each; an absent percentile breaks none.

        Args:
            latency: seconds by column, None where the data carry no figure.
            errors: share of failed requests, wrong answers among them.
            wrong: share of checked answers that were wrong; None if none was checked.
            tolerance: share by which a latency may lie above its limit.
        """
        found = [
            f"{name} {_over(value, limit, format_seconds)}"
            for name, limit in self.latency.items()
            if (value := latency.get(name)) is not None and value > limit * (1 + tolerance)
        ]
        if self.errors is not None and errors > self.errors:
            found.append(f"errors {_over(errors, self.errors, format_percent)}")
        if wrong is not None and wrong > self.wrong:
            found.append(f"wrong answers {_over(wrong, self.wrong, format_percent)}")
        return tuple(found)


def _over(value: float, limit: float, figure: Callable[[float, int], str]) -> str:
    """`260 ms over 250 ms`."""
    return " over ".join(format_apart(value, limit, figure))


def _limit(name: str, text: str, parse: Callable[[str], float]) -> float:
    """A limit, its name in front of what is wrong with it."""
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"{name} of the objective: {error}") from error


def _share(text: str) -> float:
    """A share in percent, or 0: whether 0.1 is a tenth or a thousandth is not guessed."""
    share = parse_fraction(f"{text}%" if _is_bare(text) else text)
    if share and _is_bare(text):
        raise UsageError(f"{text!r} is a share without a unit; write {text}%")
    return share


def _is_bare(text: str) -> bool:
    return not text.endswith("%")


def _duration(seconds: float) -> str:
    text = f"{seconds * 1e3:.12g}"
    return f"{text}ms" if re.fullmatch(r"[\d.]+", text) else f"{seconds!r}s"
