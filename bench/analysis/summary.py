"""The metrics of a run, each an `Estimate`: with an interval where the data suffice for one, absent without data.

Latencies are those of successful requests; a percentile warns if more requests failed than lie beyond it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.analysis.measured import Measured
from bench.analysis.metrics import METRICS
from bench.analysis.users import UsersPresent, users_present
from bench.core.types import Floats
from bench.core.units import format_percent, pluralize, times_as_long
from bench.results.blocks import OUTCOME_CODES
from bench.results.records import Outcome
from bench.results.run_reader import Run
from bench.stats.correlation import FEW_TIMES, MAX_CELLS, mean_interval
from bench.stats.distributions import poisson_bounds
from bench.stats.estimate import Estimate
from bench.stats.percentile_intervals import percentile_intervals, too_few
from bench.stats.percentiles import PERCENTILES, nearest_rank
from bench.stats.proportion import proportion_interval

CONFIDENCE: Final = 0.95
_EVENTS_A_BIN: Final = 5
_MIN_BINS: Final = 20
_MIN_EVENTS: Final = FEW_TIMES * _EVENTS_A_BIN


@dataclass(frozen=True)
class RunSummary:
    """The metrics of one run.

    Args:
        counts: measured requests by outcome; their sum is the requests due.
        wrong_kinds: wrong answers by kind.
        warmup: requests of the warm-up by outcome, which are not in `counts`.
        seconds: length of the measured part.
        metrics: estimates by the names of `bench.analysis.metrics.METRICS`, of what was measured.
        protocols: the same for each protocol, in a run with both.
        users: number of users in the measured part; None where they were not sampled.
        checked: answers that were compared with the golden ones.
        most_in_flight: largest number of requests in flight.
        warmup_checked: answers of the warm-up that were compared; not in `checked`.
    """

    counts: Mapping[str, int]
    wrong_kinds: Mapping[str, int]
    warmup: Mapping[str, int]
    seconds: float
    metrics: Mapping[str, Estimate]
    protocols: Mapping[str, Mapping[str, Estimate]]
    users: UsersPresent | None = None
    checked: int = 0
    most_in_flight: int = 0
    warmup_checked: int = 0

    @property
    def all_counts(self) -> Mapping[str, int]:
        """Requests by outcome, those of the warm-up too: a wrong answer in the warm-up is a wrong answer."""
        return {name: count + self.warmup.get(name, 0) for name, count in self.counts.items()}

    @property
    def all_wrong(self) -> int:
        """Wrong answers, those of the warm-up too."""
        return self.all_counts.get(Outcome.WRONG_ANSWER, 0)

    @property
    def due(self) -> int:
        """Measured requests that were due."""
        return sum(self.counts.values())


def summarise(run: Run, measured: Measured, confidence: float = CONFIDENCE) -> RunSummary:
    """The metrics of `run`, whose records are `measured`."""
    sentences = run.manifest.workload.sentences
    metrics = request_metrics(measured, confidence, sentences)
    metrics |= _means(measured) | _server_metrics(run, measured) | _client_metrics(run, measured)
    users = users_present(run, measured)
    if users is not None:
        metrics["users"] = _observed("users", users.mean)
    return RunSummary(
        counts=measured.counts(),
        wrong_kinds=measured.wrong_kinds(),
        warmup=measured.warmup,
        seconds=measured.seconds,
        metrics={name: metrics[name] for name in METRICS if name in metrics},
        protocols={name: request_metrics(part, confidence, sentences) for name, part in measured.protocols().items()},
        users=users,
        checked=int(measured.checked.sum()),
        most_in_flight=most_in_flight(measured),
        warmup_checked=measured.warmup_checked,
    )


def request_metrics(measured: Measured, confidence: float, sentences: int) -> dict[str, Estimate]:
    """The metrics that the records of requests give by themselves.

    Args:
        measured: the records.
        confidence: of each interval.
        sentences: sentences per request.
    """
    ok, earlier = measured.ok, measured.warmup_in_flight
    words = np.concatenate((earlier.words[earlier.ok], measured.words[ok]))
    found = {
        "throughput": _rate("throughput", measured, measured.answered, None, confidence),
        "word_rate": _rate("word_rate", measured, measured.answered, words, confidence),
        "sent_rate": _rate("sent_rate", measured, measured.sendings, None, confidence),
        "error_share": proportion_interval("error_share", ~ok, confidence),
        "dropped_share": proportion_interval("dropped_share", np.isnan(measured.sent), confidence),
        "in_flight": _observed("in_flight", mean_in_flight(measured)),
    }
    if sentences > 1:
        found["sentence_rate"] = _times("sentence_rate", found["throughput"], sentences)
    if measured.checked.any():
        wrong = measured.outcome[measured.checked] == OUTCOME_CODES[Outcome.WRONG_ANSWER]
        found["wrong_share"] = proportion_interval("wrong_share", np.asarray(wrong), confidence)
    successful = float(ok.mean()) if ok.size else 1.0
    for clock, start in (("from_due", measured.due), ("from_send", measured.sent)):
        found |= _latencies(clock, measured.done[ok] - start[ok], successful, confidence)
    delays = measured.sent - measured.due
    delays = delays[~np.isnan(delays)]
    for name, fraction in (("start_delay_p50", 0.5), ("start_delay_p99", 0.99)):
        found[name] = too_few(name, fraction, delays.size, confidence) or _observed(
            name, nearest_rank(delays, [fraction])[0]
        )
    return found


def _latencies(clock: str, values: Floats, successful: float, confidence: float) -> dict[str, Estimate]:
    """Percentiles, mean and largest of the latencies of successful requests, in the order of their due times."""
    names = [f"{clock}_{name}" for name in PERCENTILES]
    estimates = percentile_intervals(names, values, list(PERCENTILES.values()), confidence)
    found = {}
    for estimate, fraction in zip(estimates, PERCENTILES.values(), strict=True):
        if successful < fraction:
            warning = f"{format_percent(1 - successful)} of the requests failed and are not among these latencies"
            estimate = _warn(estimate, warning)
        found[estimate.metric] = estimate
    found[f"{clock}_mean"] = mean_interval(f"{clock}_mean", values, confidence)
    found[f"{clock}_max"] = _observed(f"{clock}_max", float(values.max()) if values.size else None)
    return found


def _rate(
    name: str, measured: Measured, times: Floats, weights: NDArray[np.uint32] | None, confidence: float
) -> Estimate:
    """Events (or their weights) a second within the measured part, from equal time bins."""
    if measured.seconds <= 0:
        return Estimate.absent(name, "no measured part: the run ended in its warm-up", confidence=confidence)
    bins = min(max(_MIN_BINS, times.size // _EVENTS_A_BIN), MAX_CELLS)
    counts, _ = np.histogram(times, bins, (measured.begins, measured.ends), weights=weights)
    # np.histogram counts events exactly at the end in the last bin.
    rate = mean_interval(name, counts * (bins / measured.seconds), confidence)
    if not counts.any():
        return replace(rate, lo=None, hi=None, warnings=("nothing was counted: the interval is unknown",))
    if times.size >= _MIN_EVENTS:
        return rate
    # The number of events, not their correlation, limits the bins.
    more = times_as_long(_MIN_EVENTS / times.size)
    inside = int(((times >= measured.begins) & (times <= measured.ends)).sum())
    if inside < _MIN_BINS:
        # Of so few the error says little: its interval ended below the true rate three times as often as it says.
        center = rate.center or 0.0
        least, most = (bound / inside * center for bound in poisson_bounds(inside, confidence))
        rate = replace(rate, lo=min(rate.lo or 0.0, least), hi=max(rate.hi or 0.0, most))
    return replace(rate, warnings=(f"{pluralize(times.size, 'event')} are few for a rate; run {more}, or repeat",))


def _times(name: str, estimate: Estimate, factor: int) -> Estimate:
    """`factor` times an estimate."""
    center, lo, hi = (None if end is None else end * factor for end in (estimate.center, estimate.lo, estimate.hi))
    return replace(estimate, metric=name, center=center, lo=lo, hi=hi)


def mean_in_flight(measured: Measured) -> float | None:
    """Mean number of requests sent and not done, over the measured part."""
    if measured.seconds <= 0:
        return None
    went, earlier = ~np.isnan(measured.sent), measured.warmup_in_flight
    spans = ((earlier.sent, measured.sent[went]), (earlier.done, measured.done[went]))
    inside = [np.clip(np.concatenate(times), measured.begins, measured.ends) for times in spans]
    return float((inside[1] - inside[0]).sum()) / measured.seconds


def most_in_flight(measured: Measured) -> int:
    """Largest number of requests in flight."""
    went = ~np.isnan(measured.sent)
    times = np.concatenate((measured.done[went], measured.sent[went]))
    steps = np.concatenate((np.full(went.sum(), -1), np.full(went.sum(), 1)))
    # Completions first among equal times: a user may send at the time of its last response.
    return int(np.cumsum(steps[np.argsort(times, kind="stable")]).max(initial=0))


def _means(measured: Measured) -> dict[str, Estimate]:
    names = {"build": "client_build", "parse": "client_parse", "bytes_out": "bytes_out", "bytes_in": "bytes_in"}
    return {names[name]: _observed(names[name], value) for name, value in measured.means.items()}


def _server_metrics(run: Run, measured: Measured) -> dict[str, Estimate]:
    """Means over the measured part, from the server's counters."""
    samples = _inside(run.server_samples(), measured)
    growth = {name: _growth(values) for name, values in samples.items()}

    def each(*names: str) -> float | None:
        """Total seconds (or rows) over total count of some pairs of counters."""
        total = sum(growth[f"{name}_seconds"] or 0.0 for name in names)
        count = sum(growth[f"{name}_count"] or 0.0 for name in names)
        return total / count if count else None

    batches = growth["batch_count"]
    energy = _energy_per_request(samples, measured)
    found = {
        "server_request": each("rest", "grpc"),
        "server_runtime": each("runtime"),
        "server_queue": each("queue"),
        "server_batch_rows": (growth["batch_rows"] or 0.0) / batches if batches else None,
        "server_cpu": _mean(samples["cpu"]),
        "server_cpu_per_request": _cpu_per_request(samples, measured),
        "server_memory": _largest(samples["rss"]),
        "server_gpu": _mean(samples["gpu"]),
        "server_gpu_memory": _largest(samples["gpu_memory"]),
        "server_gpu_power": _mean(samples["gpu_power"]),
        "server_gpu_energy": None if energy is None else energy / run.manifest.workload.sentences,
    }
    return {name: _observed(name, value) for name, value in found.items() if value is not None}


def _cpu_per_request(samples: dict[str, Floats], measured: Measured) -> float | None:
    """CPU seconds of the server for each successful request, both of the time between the same two samples."""
    cpu, time = samples["cpu"], samples["time"]
    rows, answered = _answered_between(samples, measured, ~np.isnan(cpu))
    # A sample has the mean since the one before it, so the first counts for nothing.
    inside = rows[1:][~np.isnan(cpu[rows[1:]])]
    steps = np.maximum(time[inside] - time[inside - 1], 0.0)
    if answered and steps.sum() > 0:
        return float(cpu[inside] @ steps / steps.sum()) * float(time[rows[-1]] - time[rows[0]]) / answered
    mean, whole = _mean(cpu), _answered_from_to(measured, measured.begins, measured.ends)
    return mean * measured.seconds / whole if mean is not None and whole else None


def _energy_per_request(samples: dict[str, Floats], measured: Measured) -> float | None:
    """Energy of the GPU for each successful request, both of the time between the same two samples, joules."""
    rows, answered = _answered_between(samples, measured, ~np.isnan(samples["gpu_energy"]))
    energy = _growth(samples["gpu_energy"][rows])
    return energy / answered if energy is not None and answered else None


def _answered_between(
    samples: dict[str, Floats], measured: Measured, known: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], float]:
    """Samples, and the successful requests between the first and the last of them.

    The server counts them; where it does not, those count that were done in that time.

    Args:
        samples: of the server in the measured part.
        measured: the records.
        known: the samples that have what is divided by the requests.

    Returns:
        Indices of samples, all from the first to the last, and the number; ([], 0.0) with fewer than two of `known`.
    """
    counter, times = samples["requests_ok"], samples["time"]
    for where, counted in ((known & ~np.isnan(counter), True), (known, False)):
        ends = np.flatnonzero(where)[[0, -1]] if where.any() else np.zeros(2, np.int64)
        if times.size and times[ends[1]] > times[ends[0]]:
            rows = np.arange(ends[0], ends[1] + 1)
            begins, last = (float(moment) for moment in times[ends])
            answered = _growth(counter[rows]) if counted else _answered_from_to(measured, begins, last)
            if answered:
                return rows, answered
    return np.empty(0, np.int64), 0.0


def _answered_from_to(measured: Measured, begins: float, ends: float) -> float:
    """Successful requests that were done after `begins` and not after `ends`."""
    return float(((measured.answered > begins) & (measured.answered <= ends)).sum())


def _client_metrics(run: Run, measured: Measured) -> dict[str, Estimate]:
    samples = _inside(run.client_samples(), measured)
    workers = np.unique(samples["worker"])
    busiest = [_mean(samples["cpu"][samples["worker"] == worker]) for worker in workers]
    found = {
        "client_cpu": max((value for value in busiest if value is not None), default=None),
        "client_memory": _largest(samples["rss"]),
    }
    return {name: _observed(name, value) for name, value in found.items() if value is not None}


def _inside(samples: dict[str, Floats], measured: Measured) -> dict[str, Floats]:
    where = (samples["time"] >= measured.begins) & (samples["time"] <= measured.ends)
    return {name: values[where] for name, values in samples.items()}


def _growth(values: Floats) -> float | None:
    """Increase of a counter over its known samples; a restart of the server resets it."""
    known = values[~np.isnan(values)]
    if known.size < 2:
        return None
    steps = np.diff(known)
    return float(np.where(steps >= 0, steps, known[1:]).sum())


def _mean(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _largest(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.max()) if known.size else None


def _observed(name: str, value: float | None) -> Estimate:
    """A value without an interval: observed in this run."""
    return Estimate(name, value, None, None, CONFIDENCE, 0)


def _warn(estimate: Estimate, warning: str) -> Estimate:
    return replace(estimate, warnings=(*estimate.warnings, warning))
