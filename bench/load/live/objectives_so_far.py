"""The verdicts on the objectives of a run so far, from its counts while it is in progress.

They are those of a run that ended now, by the intervals of `bench.stats.batch_means`. Nothing is decided by them: a run
that stops when its objectives are decided looks by a rule that spends its error (`bench.objectives.stopping`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.load.live.latency_histogram import LatencyBatches
from bench.objectives.grammar import Objective
from bench.objectives.verdicts import Counted, ObjectiveResult, Verdict, decide
from bench.stats.batch_means import LEAST_BATCHES, effective_size, mean_bounds, proportion_bounds
from bench.stats.estimate import Estimate
from bench.stats.percentiles import PERCENTILES, needed

CONFIDENCE: Final = 0.95
_LATER: Final = "told at the end of the run"


@dataclass(frozen=True, slots=True)
class ObjectiveSoFar:
    """How a run stands to an objective, as text.

    Args:
        objective: `p99<=250ms`.
        verdict: if the run ended now.
        figure: the value with its interval.
        remark: what decides, or what is missing; "" where the interval says it all.
    """

    objective: str
    verdict: Verdict
    figure: str
    remark: str


@dataclass(frozen=True, slots=True)
class MeasuredSoFar:
    """The measured part of a run.

    Args:
        latencies: of the successful requests, by clock.
        seconds: complete seconds.
        ok: successful requests that ended in them.
        failed: others, wrong answers included.
        batch_seconds: length of a batch.
        ok_batches: `ok` by batches of consecutive seconds, without the newest that do not fill one, `[B]`.
        failed_batches: the same of `failed`.
        wrong: wrong answers.
        warmup: requests of the warm-up that have ended.
        warmup_wrong: wrong answers among them.
        open: requests that are due and have not ended; 0 in closed loop.
    """

    latencies: Mapping[str, LatencyBatches]
    seconds: int
    ok: int
    failed: int
    batch_seconds: int
    ok_batches: NDArray[np.int64]
    failed_batches: NDArray[np.int64]
    wrong: int
    warmup: int
    warmup_wrong: int
    open: int


def objectives_so_far(objectives: Sequence[Objective], measured: MeasuredSoFar) -> tuple[ObjectiveSoFar, ...]:
    """How the run stands to each of its objectives."""
    return tuple(_text(_result(objective, measured)) for objective in objectives)


def _text(result: ObjectiveResult) -> ObjectiveSoFar:
    return ObjectiveSoFar(str(result.objective), result.verdict, result.figure, result.remark)


def _result(objective: Objective, measured: MeasuredSoFar) -> ObjectiveResult:
    clock, _, name = objective.quantity.metric.rpartition("_")
    if objective.counted:
        return _counted(objective, measured)
    if name in PERCENTILES:
        return _percentile(objective, clock, name, measured)
    estimates = {"error_share": _error_share, "throughput": _throughput}
    estimate = estimates.get(objective.quantity.metric)
    found = _absent(objective, _LATER) if estimate is None else estimate(objective, measured)
    return decide(objective, found, float(measured.seconds), over=False)


def _counted(objective: Objective, measured: MeasuredSoFar) -> ObjectiveResult:
    failed, requests = measured.failed, measured.ok + measured.failed
    if objective.name == "wrong":
        warm = measured.warmup_wrong
        counted = Counted(measured.wrong + warm, requests + measured.warmup, "request", warm)
        return decide(objective, _absent(objective, ""), 0.0, counted, over=False)
    bad = failed
    if objective.name != "errors":
        histogram = measured.latencies[objective.quantity.metric.rpartition("_")[0]].histogram
        within = int(histogram.below(np.array([objective.limit]))[0])
        bad = histogram.total - within + failed
    return decide(objective, _absent(objective, ""), 0.0, Counted(bad, requests, "request"), over=False)


def _percentile(objective: Objective, clock: str, name: str, measured: MeasuredSoFar) -> ObjectiveResult:
    """A FAIL as the requests are that have ended; a PASS only if those that are open may all be late."""
    failed, seconds = measured.failed, float(measured.seconds)
    ended = decide(objective, _among(objective, clock, name, measured, failed), seconds, over=False)
    if ended.verdict is not Verdict.PASS or not measured.open:
        return ended
    late = decide(objective, _among(objective, clock, name, measured, failed + measured.open), seconds, over=False)
    return replace(ended, verdict=Verdict.CANNOT_TELL) if late.verdict is not Verdict.PASS else ended


def _among(objective: Objective, clock: str, name: str, measured: MeasuredSoFar, late: int) -> Estimate:
    """A percentile of successful requests and of `late` ones, which are later than every limit."""
    batches = measured.latencies[clock]
    successful = batches.histogram.total
    fraction = PERCENTILES[name]
    if successful + late < needed(fraction, CONFIDENCE) or not successful:
        return _absent(objective, f"{name} needs {needed(fraction, CONFIDENCE):,} requests, there are {successful:,}")
    fraction *= (successful + late) / successful
    if fraction >= 1:
        share = _error_share(objective, measured)
        surely = share.lo is not None and share.lo > 1 - PERCENTILES[name]
        return Estimate(objective.quantity.metric, math.inf, math.inf if surely else None, None, CONFIDENCE, successful)
    (found,) = batches.estimates(clock, CONFIDENCE, {name: fraction})
    return found


def _error_share(objective: Objective, measured: MeasuredSoFar) -> Estimate:
    failed, sizes = measured.failed_batches, measured.failed_batches + measured.ok_batches
    total = int(sizes.sum())
    if sizes.size < LEAST_BATCHES or not total:
        return _absent(objective, f"no interval in the first {LEAST_BATCHES} s")
    share = float(failed.sum()) / total
    n = effective_size(share, failed, sizes)
    bounds = proportion_bounds(share, n, sizes.size, CONFIDENCE)
    return Estimate(objective.quantity.metric, share, bounds.lo, bounds.hi, CONFIDENCE, n)


def _throughput(objective: Objective, measured: MeasuredSoFar) -> Estimate:
    rates = measured.ok_batches / measured.batch_seconds
    if rates.size < LEAST_BATCHES:
        return _absent(objective, f"no interval in the first {LEAST_BATCHES} s")
    return Estimate(objective.quantity.metric, *mean_bounds(rates, CONFIDENCE), CONFIDENCE, rates.size)


def _absent(objective: Objective, why: str) -> Estimate:
    return Estimate.absent(objective.quantity.metric, why, confidence=CONFIDENCE)
