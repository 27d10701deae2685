"""What failed requests said: the distinct texts of a run's errors, counted, in bounds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.results.records import Outcome

MOST_TEXTS: Final = 20
"""Distinct texts that a process counts one by one; a server can give each failure a text of its own."""
MOST_CHARACTERS: Final = 300
_MIDDLE: Final = " … "
_HALF: Final = (MOST_CHARACTERS - len(_MIDDLE)) // 2


@dataclass(frozen=True, slots=True)
class FailureText:
    """Failed requests that ended with the same error.

    Args:
        outcome: of these requests.
        text: of the error, one line; "" for all others of this outcome.
        count: how many, the warm-up included.
    """

    outcome: Outcome
    text: str
    count: int


class FailureTexts:
    """Counts the texts of failed requests, `MOST_TEXTS` of them one by one."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[Outcome, str]] = Counter()

    def add(self, outcome: Outcome, text: str, count: int = 1) -> None:
        """Counts requests that failed with an error of this text, one line."""
        if len(text) > MOST_CHARACTERS:
            text = f"{text[:_HALF]}{_MIDDLE}{text[-_HALF:]}"
        key = (outcome, text)
        if key not in self._counts and sum(1 for _, known in self._counts if known) >= MOST_TEXTS:
            key = (outcome, "")
        self._counts[key] += count

    def found(self) -> tuple[FailureText, ...]:
        """The texts, the most frequent first; the others of an outcome behind."""
        order = sorted(self._counts.items(), key=lambda entry: (not entry[0][1], -entry[1], entry[0]))
        return tuple(FailureText(outcome, text, count) for (outcome, text), count in order)


def joined(parts: Iterable[Sequence[FailureText]]) -> tuple[FailureText, ...]:
    """The texts of several processes, counted together."""
    whole = FailureTexts()
    for entry in sorted((entry for part in parts for entry in part), key=lambda entry: -entry.count):
        whole.add(entry.outcome, entry.text, entry.count)
    return whole.found()
