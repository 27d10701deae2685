"""A service level objective: `p99=250ms,errors=0.1%,wrong=0`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from bench.capacity.queue.latency_table import COLUMNS
from bench.core.errors import UsageError, did_you_mean
from bench.core.units import format_apart, format_percent, format_seconds, parse_duration, parse_fraction

_EXAMPLE: Final = "p99=250ms,errors=0.1%,wrong=0"
_FRACTIONS: Final = ("errors", "wrong")


@dataclass(frozen=True, slots=True)
class Slo:
    """A service level objective.

    Args:
        latency: limits of latency from due, seconds, by `bench.capacity.queue.latency_table.COLUMNS`; at least one.
        errors: largest fraction of failed requests; None without a limit.
        wrong: largest fraction of wrong answers among the checked ones.
    """

    latency: Mapping[str, float]
    errors: float | None = None
    wrong: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses `p99=250ms,errors=0.1%,wrong=0`.

        Raises:
            UsageError: an unknown name, a malformed value or one without a unit, or no latency limit.
        """
        latency: dict[str, float] = {}
        fractions: dict[str, float] = {}
        for part in text.split(","):
            name, equals, value = (word.strip() for word in part.partition("="))
            if not equals or name in latency or name in fractions:
                raise UsageError(
                    f"{text!r} is not an objective: cannot parse {part.strip()!r}; write it like {_EXAMPLE}"
                )
            if name in COLUMNS:
                latency[name] = _limit(name, value, parse_duration)
            elif name in _FRACTIONS:
                fractions[name] = _limit(name, value, _fraction)
            else:
                known, near = ", ".join((*COLUMNS, *_FRACTIONS)), did_you_mean(name, (*COLUMNS, *_FRACTIONS))
                raise UsageError(
                    f"{name!r} is not a limit of an objective; the limits are {known}, like {_EXAMPLE}{near}"
                )
        if not latency:
            raise UsageError(f"{text!r} has no latency limit, so it allows every rate; write it like {_EXAMPLE}")
        return cls(latency, fractions.get("errors"), fractions.get("wrong", 0.0))

    @property
    def window_limit(self) -> float:
        """Limit of the p99 of a time window in a simulation: that of p99, or the largest latency limit, seconds."""
        return self.latency.get("p99", max(self.latency.values()))

    def __str__(self) -> str:
        parts = [f"{name}={_duration(seconds)}" for name, seconds in self.latency.items()]
        if self.errors is not None:
            parts.append(f"errors={100 * self.errors:g}%")
        return ",".join([*parts, f"wrong={f'{100 * self.wrong:g}%' if self.wrong else 0}"])

    def broken(
        self, latency: Mapping[str, float | None], errors: float, wrong: float | None, *, tolerance: float = 0.0
    ) -> tuple[str, ...]:
        """The limits that measured values violate, one line each; an absent percentile violates none.

        Args:
            latency: seconds by column; None where absent.
            errors: fraction of failed requests, including wrong answers.
            wrong: fraction of wrong answers among the checked ones; None if none was checked.
            tolerance: relative tolerance of the latency limits.
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


def _over(value: float, limit: float, format_value: Callable[[float, int], str]) -> str:
    """`260 ms over 250 ms`."""
    return " over ".join(format_apart(value, limit, format_value))


def _limit(name: str, text: str, parse: Callable[[str], float]) -> float:
    """A limit; errors name it."""
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"{name} of the objective: {error}") from error


def _fraction(text: str) -> float:
    """A fraction in percent, or 0; a bare 0.1 is ambiguous and refused."""
    fraction = parse_fraction(f"{text}%" if _is_bare(text) else text)
    if fraction and _is_bare(text):
        raise UsageError(f"{text!r} is a fraction without a unit; write {text}%")
    return fraction


def _is_bare(text: str) -> bool:
    return not text.endswith("%")


def _duration(seconds: float) -> str:
    text = f"{seconds * 1e3:.12g}"
    return f"{text}ms" if re.fullmatch(r"[\d.]+", text) else f"{seconds!r}s"
