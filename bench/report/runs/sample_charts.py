"""Charts of samples: a run has one each second, and a chart at most `MAX_POINTS`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.analysis.latency_curves import MAX_POINTS, LatencyCurves
from bench.core.types import Floats
from bench.core.units import format_seconds
from bench.report.charts import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, TIME, Chart, Series

_EACH: Final = "each second"


def client_charts(curves: LatencyCurves) -> Iterator[Chart]:
    """CPU and event-loop lag of the load generator."""
    client = curves.client
    cores = [
        Series("busiest load worker", client["cpu"], ORANGE),
        Series("load generator's machine, all processes", client["machine_cpu"], GREY, dash=1),
    ]
    note = "of the load generator, {}; one worker can use one core"
    chart = Chart("client-cpu", "Client: CPU", note, client["time"], TIME, "CPU utilization (cores)", "cores", cores)
    yield _extremes(chart)
    lag = [Series("largest event-loop lag", client["loop_lag"], RED)]
    note = "largest delay of a timer, {}, of the worker with the largest"
    yield _extremes(Chart("client-lag", "Client: event-loop lag", note, client["time"], TIME, "lag", "s", lag))


def server_charts(curves: LatencyCurves) -> Iterator[Chart]:
    """The server's own time of a request, where the time goes, and its CPU."""
    server, time = curves.server, curves.server["time"]
    timings = [
        Series(label, server[name], color, dash)
        for name, label, color, dash in (
            ("request", "request", BLUE, 0),
            ("runtime", "session, batch queueing included", GREEN, 1),
            ("queue", "batch queueing delay", RED, 1),
        )
        if not np.isnan(server[name]).all()
    ]
    note = "from the server's own counters, {}"
    yield _extremes(
        Chart("server-time", "Server: time of a request", note, time, TIME, "mean of a request", "s", timings)
    )
    yield from _parts(curves)
    cores = [Series("server", server["cpu"], PURPLE)]
    yield _extremes(Chart("server-cpu", "Server: CPU", "{}", time, TIME, "CPU utilization (cores)", "cores", cores))


def _parts(curves: LatencyCurves) -> Iterator[Chart]:
    """Where the time goes; only where the server's page tells its part."""
    found = curves.parts
    if not found.known:
        return
    # Whole seconds, whose parts sum to their latency.
    rows, spans = _extreme_rows(found.time, found.latency)
    parts = [
        Series(label, values[rows], color, counts=found.requests[rows])
        for label, values, color in (
            ("client: due, not yet sent", found.client, ORANGE),
            ("network and both stacks, as in the quietest seconds", found.wire, SKY),
            ("server: waiting for a batch", found.queue, RED),
            ("server: model execution", found.runtime, GREEN),
            ("server: decoding, encoding and the rest", found.serialisation, BLUE),
            ("not explained", found.unexplained, BLACK),
        )
    ]
    parts.append(Series("all: latency from due", found.latency[rows], GREY, dash=1, counts=found.requests[rows]))
    seconds = f"the seconds with the smallest and the largest latency of {spans}" if spans else _EACH
    note = f"mean of the successful requests done in {seconds}; the parts sum to the latency from due"
    title = "Where the time goes, by second"
    yield Chart("time-by-second", title, note, found.time[rows], TIME, "mean of a request", "s", parts)


def _extremes(chart: Chart) -> Chart:
    """The chart with the smallest and the largest value of each of equal spans, in their order, and with a note that
    says so in place of `{}`."""
    rows, spans = _spans(chart.x)
    if not spans:
        return replace(chart, note=chart.note.format(_EACH))
    # The two values of a span stand at its start and in its middle, whatever the line.
    x = chart.x[np.column_stack((rows[:-1], (rows[:-1] + rows[1:]) // 2)).ravel()]
    series = [replace(entry, values=entry.values[_extremes_of(entry.values, rows)]) for entry in chart.series]
    return replace(chart, x=x, series=series, note=chart.note.format(f"smallest and largest of {spans}"))


def _extreme_rows(time: Floats, values: Floats) -> tuple[NDArray[np.intp], str]:
    """The samples with the smallest and the largest of `values` in each span, and the length of the spans; all samples,
    and "", where they are few."""
    rows, spans = _spans(time)
    return (_extremes_of(values, rows) if spans else np.arange(time.size)), spans


def _spans(time: Floats) -> tuple[NDArray[np.intp], str]:
    """Edges of `MAX_POINTS` / 2 equal spans of samples, and their length as text; "" where the samples are few."""
    rows = np.linspace(0, time.size, MAX_POINTS // 2 + 1).astype(np.intp)
    if time.size <= MAX_POINTS:
        return rows, ""
    return rows, f"each {format_seconds(float(time[-1] - time[0]) / (rows.size - 1))}"


def _extremes_of(values: Floats, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Indices of the smallest and the largest known value of each span, the earlier one first, `[2 (rows - 1)]`."""
    low, high = np.where(np.isnan(values), np.inf, values), np.where(np.isnan(values), -np.inf, values)
    found = [
        sorted((int(low[start:end].argmin()) + start, int(high[start:end].argmax()) + start))
        for start, end in zip(rows[:-1].tolist(), rows[1:].tolist(), strict=True)
    ]
    return np.array(found, np.intp).ravel()
