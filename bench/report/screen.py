"""The first screen of a page: a verdict, sentences and a few large figures, as values for the templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.analysis.metrics import METRICS
from bench.core.units import format_percent
from bench.report import text
from bench.stats.estimate import Estimate

GOOD: Final = "good"
BAD: Final = "bad"
PLAIN: Final = ""


@dataclass(frozen=True, slots=True)
class Value:
    """A metric as it is shown.

    Args:
        metric: its name in files; "" for what is no metric of a run.
        label: short title.
        number: base units; None if it is absent.
        value: with its unit.
        interval: its confidence interval; "" without one.
        confidence: of the interval.
    """

    metric: str
    label: str
    number: float | None
    value: str
    interval: str
    confidence: float = 0.95

    @property
    def percent(self) -> str:
        """The confidence, `95 %`."""
        return format_percent(self.confidence)


@dataclass(frozen=True)
class Figure:
    """One of the large figures.

    Args:
        title: above it.
        value: the figure, or a few words.
        state: `good`, `bad` or "".
        shown: metrics below it, the first of which is the large one if `value` is "".
        notes: one line each.
    """

    title: str
    value: str
    state: str
    shown: Sequence[Value]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Objective:
    """An objective that the run was to meet, with its outcome.

    Args:
        text: the objective and what was measured, one line.
        met: whether it is met; None where the run cannot say.
        remark: what is to be known of the verdict; "" for nothing.
    """

    text: str
    met: bool | None
    remark: str = ""


@dataclass(frozen=True)
class FirstScreen:
    """The first screen of a page.

    Args:
        word: the verdict in a word or a sentence.
        state: `good`, `bad` or "".
        headline: what follows the word; "" for nothing.
        reasons: why, one line each.
        sentences: what was found.
        figures: the large ones, about four.
        alarms: what is wrong with the answers, one line each, whatever the verdict.
        objectives: those that were given for the run.
        objectives_verdict: the verdict on all of them; "" without any.
    """

    word: str
    state: str
    headline: str
    reasons: Sequence[str]
    sentences: Sequence[str]
    figures: Sequence[Figure]
    alarms: Sequence[str] = ()
    objectives: Sequence[Objective] = ()
    objectives_verdict: str = ""


def shown(name: str, estimate: Estimate | None, label: str = "") -> Value:
    """A metric as it is shown.

    Args:
        name: of the metric.
        estimate: of it; None for none.
        label: short title; "" for the metric's.
    """
    metric = METRICS[name]
    if estimate is None:
        return Value(name, label or metric.title, None, text.metric_value(metric, None), "")
    value, interval = text.metric_value(metric, estimate.center), text.interval(metric, estimate)
    return Value(name, label or metric.title, estimate.center, value, interval, estimate.confidence)
