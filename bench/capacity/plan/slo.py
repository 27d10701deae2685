"""A service level objective: `p99=250ms,errors=0.1%,wrong=0`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from bench.core.errors import UsageError
from bench.core.types import checked_call, checked_fields
from bench.core.units import format_apart, format_percent, format_seconds
from bench.objectives.grammar import QUANTITIES, duration_text, fraction_text, parse_objectives
from bench.stats.percentiles import LATENCIES

_EXAMPLE: Final = "p99=250ms,errors=0.1%,wrong=0"
_LIMITS: Final = {name: QUANTITIES[name] for name in (*LATENCIES, "errors", "wrong")}


@dataclass(frozen=True, slots=True)
@checked_fields
class Slo:
    """A service level objective.

    Args:
        latency: limits of latency from due, seconds, by `LATENCIES`; at least one.
        errors: largest fraction of failed requests; None without a limit.
        wrong: largest fraction of wrong answers among the checked ones.
    """

    latency: Mapping[str, float]
    errors: float | None = None
    wrong: float = 0.0

    @classmethod
    @checked_call
    def parse(cls, text: str) -> Self:
        """Parses `p99=250ms,errors=0.1%,wrong=0`, see `bench.objectives.grammar`.

        Raises:
            UsageError: an unknown name, a malformed value or one without a unit, or no latency limit.
        """
        limits = {entry.name: entry.limit for entry in parse_objectives(text, _LIMITS, _EXAMPLE)}
        latency = {name: limit for name, limit in limits.items() if name in LATENCIES}
        if not latency:
            raise UsageError(f"{text!r} has no latency limit, so it allows every rate; write it like {_EXAMPLE}")
        return cls(latency, limits.get("errors"), limits.get("wrong", 0.0))

    def __str__(self) -> str:
        parts = [f"{name}={duration_text(seconds)}" for name, seconds in self.latency.items()]
        if self.errors is not None:
            parts.append(f"errors={fraction_text(self.errors)}")
        return ",".join([*parts, f"wrong={fraction_text(self.wrong)}"])

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
