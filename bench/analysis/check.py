"""One check of a run: a value, its limit, and the line that says how they compare."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from bench.core.units import format_apart


class Behind(StrEnum):
    """What a failed check has to do with a server that falls behind the rate of an open loop."""

    SIGN = "sign"
    """It shows that the server does."""
    EFFECT = "effect"
    """It may follow from that."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Args:
        name: of the check.
        passed: whether the run passed; None if it was not checked.
        text: one line with the value and the limit.
        value: what was compared with the limit, base units; None without a limit.
        limit: the limit of this run; None where there is none.
        reason: the reason for the limit; "" without a limit.
        behind: what it has to do with a server that falls behind, if the run did not pass; None if nothing.
    """

    name: str
    passed: bool | None
    text: str
    value: float | None = None
    limit: float | None = None
    reason: str = ""
    behind: Behind | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """An upper limit with its reason.

    Args:
        value: the limit, base units.
        reason: the reason for it.
    """

    value: float
    reason: str

    @classmethod
    def widest(cls, *limits: "Limit") -> "Limit":
        """The largest, the first among equals."""
        return max(limits, key=lambda limit: limit.value)

    def check(
        self,
        name: str,
        value: float,
        text: str,
        figure: Callable[[float, int], str],
        advice: str = "",
        behind: Behind | None = None,
    ) -> Check:
        """Checks that `value` is within the limit.

        Args:
            name: of the check.
            value: base units.
            text: the line, with `{}` for the value.
            figure: formats a value with so many significant digits.
            advice: what follows the line where the value exceeds the limit.
            behind: see `Check`.
        """
        shown, limit = format_apart(value, self.value, figure)
        passed = value <= self.value
        line = f"{text.format(shown)}, {'within' if passed else 'above'} the limit of {limit} ({self.reason})"
        return Check(name, passed, line if passed else line + advice, value, self.value, self.reason, behind)
