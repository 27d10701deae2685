"""The charts of one run's page, and those of several runs on top of each other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.compare import side_estimate
from bench.analysis.latency_curves import LatencyCurves
from bench.analysis.metrics import CLOCKS, METRICS
from bench.analysis.run import Analysis
from bench.analysis.run_profile import RunProfile, WordGroup
from bench.core.types import Floats
from bench.core.units import format_number, pluralize
from bench.report.charts import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PERCENTILE,
    PURPLE,
    RED,
    SKY,
    TIME,
    WORDS,
    Chart,
    Mark,
    Series,
)
from bench.report.runs.load_plots import FAILURES
from bench.report.runs.sample_charts import client_charts, server_charts
from bench.stats.percentiles import PERCENTILES, needed

_FAILURE_COLORS: Final[Mapping[str, int]] = {
    "wrong_answer": RED,
    "timeout": PURPLE,
    "unavailable": ORANGE,
    "rejected": GREEN,
    "invalid_response": SKY,
    "dropped": BLACK,
}
_LOG_FROM: Final = 12.0
"""A range of latencies beyond this factor gets a logarithmic axis."""


@dataclass(frozen=True)
class RunLine:
    """A run in a chart of several.

    Args:
        label: of the run.
        side: in the legend, the same for repeats.
        color: index in the page's palette, the same for repeats.
        dash: as in `Series`, the same for repeats.
        analysis: of the run.
        curves: of the run.
    """

    label: str
    side: str
    color: int
    dash: int
    analysis: Analysis
    curves: LatencyCurves


def run_charts(analysis: Analysis, curves: LatencyCurves, profile: RunProfile) -> list[Chart]:
    """The charts of one run; those without data are left out."""
    found = [
        *_percentiles(analysis, curves),
        *_over_time(curves),
        *_throughput(analysis, curves),
        *_heat_map(profile),
        *_errors(curves, profile),
        *_in_flight(curves),
        *_start_delay(curves, profile),
        *_words(profile),
        *client_charts(curves),
        *server_charts(curves),
    ]
    return [chart for chart in found if chart.heat is not None or any(_known(entry) for entry in chart.series)]


def overlaid_charts(runs: Sequence[RunLine]) -> list[Chart]:
    """Charts with one line for each run."""
    found = [*_overlaid_percentiles(runs)]
    for name, title, label, unit in (
        ("latency-over-time", "Latency over time, p50 from due", "latency", "s"),
        ("throughput", "Throughput over time", "successful requests/s", "1/s"),
    ):
        column = "from_due_p50" if unit == "s" else "ok"
        times = [_middle(run.curves) for run in runs]
        x = np.unique(np.concatenate(times)) if times else np.empty(0)
        series = [
            Series(run.label, _at(x, time, _column(run.curves, column)), run.color, run.dash, group=run.side)
            for run, time in zip(runs, times, strict=True)
        ]
        shown = np.concatenate([entry.values for entry in series]) if series else np.empty(0)
        note = "each run from its own start"
        found.append(Chart(name, title, note, x, TIME, label, unit, series, unit == "s" and _wide(shown)))
    return [chart for chart in found if any(_known(entry) for entry in chart.series)]


def _column(curves: LatencyCurves, name: str) -> Floats:
    # A run without a request has no counts.
    if name not in curves.series:
        return np.empty(0)
    return curves.rate(name) if name == "ok" else curves.series[name]


def _at(x: Floats, time: Floats, values: Floats) -> Floats:
    """`values` at the places of `time` in `x`, NaN elsewhere."""
    found = np.full(x.size, np.nan)
    found[np.searchsorted(x, time)] = values
    return found


def _percentiles(analysis: Analysis, curves: LatencyCurves) -> Iterator[Chart]:
    found = curves.percentiles
    if found is None:
        return
    series = [
        Series("from due (what a caller waits)", found.from_due, BLUE),
        Series("from send (what the server took)", found.from_send, ORANGE, dash=1),
    ]
    marks = [mark for index, clock in enumerate(CLOCKS) for mark in _marks(analysis, clock, (BLUE, ORANGE)[index])]
    ok, due = analysis.summary.counts["ok"], analysis.summary.due
    failed = f", {due - ok:,} failed left out" if ok < due else ""
    note = f"{pluralize(ok, 'successful request')}{failed}, warm-up left out; bars are 95 % intervals"
    log = _wide(np.concatenate((found.from_due, found.from_send)))
    title = "Latency percentiles"
    yield Chart("percentiles", title, note, found.fractions, PERCENTILE, "latency", "s", series, log, marks)


def _marks(analysis: Analysis, clock: str, color: int) -> Iterator[Mark]:
    """The percentiles of a clock that have a value, with their intervals."""
    for name, fraction in PERCENTILES.items():
        found = analysis.summary.metrics[f"{clock}_{name}"]
        if found.center is not None:
            label = f"{CLOCKS[clock]}, {name}"
            yield Mark(fraction, label, found.center, found.lo, found.hi, found.n, color)


def _overlaid_percentiles(runs: Sequence[RunLine]) -> Iterator[Chart]:
    known = [(run, run.curves.percentiles) for run in runs if run.curves.percentiles is not None]
    if not known:
        return
    x = np.unique(np.concatenate([found.fractions for _, found in known]))
    series: list[Series] = []
    marks: list[Mark] = []
    for run, found in known:
        # Nearest rank: the value at a fraction holds up to the next, and there is none beyond a run's last.
        place = np.minimum(np.searchsorted(found.fractions, x), found.fractions.size - 1)
        values = np.where(x <= found.fractions[-1], found.from_due[place], np.nan)
        series.append(Series(run.label, values, run.color, run.dash, group=run.side))
    for side in dict.fromkeys(run.side for run, _ in known):
        marks += _side_marks([run for run, _ in known if run.side == side])
    log = _wide(np.concatenate([entry.values for entry in series]))
    note = "latency from due of the successful requests; bars are 95 % intervals, those of repeats between runs"
    yield Chart("percentiles", "Latency percentiles", note, x, PERCENTILE, "latency", "s", series, log, marks)


def _side_marks(runs: Sequence[RunLine]) -> Iterator[Mark]:
    for name, fraction in PERCENTILES.items():
        metric = METRICS[f"from_due_{name}"]
        found = side_estimate(metric, [run.analysis for run in runs])
        if found.center is not None:
            label = f"{runs[0].side}, {name}"
            yield Mark(fraction, label, found.center, found.lo, found.hi, found.n, runs[0].color, runs[0].side)


def _over_time(curves: LatencyCurves) -> Iterator[Chart]:
    series, time = curves.series, _middle(curves)
    counts = series["ok_by_due"]
    lines = [
        Series(f"{name} from due", series[f"from_due_{name}"], color, counts=counts, needs=needed(PERCENTILES[name]))
        for name, color in (("p50", BLUE), ("p95", GREEN), ("p99", PURPLE))
    ]
    needs = needed(PERCENTILES["p99"])
    lines.append(Series("p99 from send", series["from_send_p99"], BLACK, dash=1, counts=counts, needs=needs))
    shown = np.concatenate([entry.values for entry in lines])
    note = f"successful requests by when they were due, each {format_number(curves.interval)} s"
    yield Chart("latency-over-time", "Latency over time", note, time, TIME, "latency", "s", lines, _wide(shown))


def _throughput(analysis: Analysis, curves: LatencyCurves) -> Iterator[Chart]:
    if not curves.series["time"].size:
        return
    asked = "due (schedule)" if analysis.run.manifest.open_loop else "due (users)"
    lines = [
        Series(label, curves.rate(name), color, dash)
        for name, label, color, dash in (
            ("ok", "successful", BLUE, 0),
            ("sent", "sent", ORANGE, 0),
            ("due", asked, BLACK, 1),
        )
    ]
    note = f"requests/s, each {format_number(curves.interval)} s; the lines coincide where the server keeps up"
    yield Chart("throughput", "Throughput over time", note, _middle(curves), TIME, "requests/s", "1/s", lines)


def _heat_map(profile: RunProfile) -> Iterator[Chart]:
    heat = profile.heat_map
    if heat is None:
        return
    note = f"{pluralize(int(heat.counts.sum()), 'successful request')}; the stronger the colour, the more of them"
    title = "Latency of all requests over time"
    yield Chart("heat-map", title, note, heat.times, TIME, "latency from due", "s", [], True, heat=heat)


def _errors(curves: LatencyCurves, profile: RunProfile) -> Iterator[Chart]:
    series = curves.series
    if not series["time"].size:
        return
    lines = [
        Series(label, curves.failure_rate(series[name]), _FAILURE_COLORS[name], steps=True)
        for name, (_, label) in FAILURES.items()
        if series[name].any()
    ]
    # The kinds of wrong answers part the line above them.
    length = series["time"].size
    for index, (kind, counts) in enumerate(profile.wrong.items()):
        padded = np.pad(counts[:length], (0, max(length - counts.size, 0)))
        label = f"wrong answer: {kind.replace('_', ' ')}"
        lines.append(Series(label, curves.failure_rate(padded), (SKY, GREEN, GREY, BLACK, PURPLE)[index % 5], dash=1))
    note = f"failed requests/s by kind, each {format_number(curves.interval)} s"
    title = "Failed requests over time"
    yield Chart("errors", title, note, series["time"], TIME, "failed requests/s", "1/s", lines)


def _in_flight(curves: LatencyCurves) -> Iterator[Chart]:
    if not curves.series["time"].size:
        return
    client, time = curves.client, _middle(curves)
    lines = [Series("in flight (sent, not done), mean", curves.in_flight, BLUE)]
    for name, label, color in (("waiting", "waiting (due, not sent)", RED), ("users", "users", GREY)):
        if not np.isnan(client[name]).all():
            lines.append(
                Series(label, _resampled(curves, client["time"], client[name]), color, dash=int(name == "users"))
            )
    note = f"L = λ·W, each {format_number(curves.interval)} s"
    yield Chart("in-flight", "Requests in flight", note, time, TIME, "requests", "", lines)


def _start_delay(curves: LatencyCurves, profile: RunProfile) -> Iterator[Chart]:
    delay = profile.start_delay
    lines = [Series("p50", delay["p50"], BLUE), Series("p99", delay["p99"], PURPLE)]
    shown = np.concatenate([delay["p50"], delay["p99"]])
    note = f"time from due to sent, each {format_number(curves.interval)} s; it is the client's, not the server's"
    time = delay["time"] + curves.interval / 2
    yield Chart("start-delay", "Start delay", note, time, TIME, "start delay", "s", lines, _wide(shown))


def _words(profile: RunProfile) -> Iterator[Chart]:
    groups = profile.words
    if len(groups) < 2:
        return
    x = np.array([(group.least + group.most) / 2 for group in groups])
    counts = np.array([group.requests for group in groups], np.float64)
    lines, marks = [], []
    for name, color in (("p50", BLUE), ("p95", GREEN), ("p99", PURPLE)):
        centers = [group.latencies[name].center for group in groups]
        values = np.array([np.nan if center is None else center for center in centers])
        if not np.isnan(values).all():
            lines.append(Series(f"{name} from due", values, color, counts=counts))
            marks += list(_word_marks(groups, name, color))
    least = ", ".join(f"a {name} needs {needed(PERCENTILES[name]):,}" for name in ("p95", "p99"))
    note = f"latency from due of the successful requests, 95 % intervals; {least} requests of the same size"
    title = "Latency by number of words"
    yield Chart("words", title, note, x, WORDS, "latency", "s", lines, marks=marks)


def _word_marks(groups: Sequence[WordGroup], name: str, color: int) -> Iterator[Mark]:
    for group in groups:
        found = group.latencies[name]
        if found.center is not None:
            label = f"{name}, {words_of(group)}"
            yield Mark((group.least + group.most) / 2, label, found.center, found.lo, found.hi, group.requests, color)


def words_of(group: WordGroup) -> str:
    """`14 words`, `15 to 18 words`."""
    if group.least == group.most:
        return pluralize(group.most, "word")
    return f"{group.least:,} to {pluralize(group.most, 'word')}"


def _middle(curves: LatencyCurves) -> Floats:
    return curves.series["time"] + curves.interval / 2


def _resampled(curves: LatencyCurves, time: Floats, values: Floats) -> Floats:
    """The mean of the known samples in each interval."""
    length = curves.series["time"].size
    known = ~np.isnan(values) & (time >= 0)
    # A sample covers the second before it.
    place = np.clip(((time[known] - 0.5) / curves.interval).astype(np.int64), 0, length - 1)
    sums, counts = np.bincount(place, values[known], length), np.bincount(place, minlength=length)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _known(series: Series) -> bool:
    return not bool(np.isnan(series.values).all())


def _wide(values: Floats) -> bool:
    """Whether latencies span so much that a logarithmic axis is needed."""
    there = values[values > 0]
    return there.size > 0 and float(there.max() / there.min()) > _LOG_FROM
