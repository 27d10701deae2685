"""The verdicts on the objectives of a run, from its records.

A request that failed is later than every limit: a latency objective counts all requests that were due, so that a server
cannot meet it by failing. The mean is that of the successful requests.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from bench.analysis.measured import Measured
from bench.analysis.metrics import METRICS
from bench.analysis.summary import CONFIDENCE, request_metrics
from bench.analysis.validity import Validity
from bench.core.units import format_percent
from bench.objectives.grammar import Objective
from bench.objectives.verdicts import Counted, ObjectiveResult, ObjectivesResult, Verdict, decide
from bench.results.blocks import OUTCOME_CODES
from bench.results.records import Outcome
from bench.results.run_reader import Run
from bench.stats.correlation import FEW_TIMES
from bench.stats.estimate import Estimate
from bench.stats.percentile_intervals import percentile_interval
from bench.stats.percentiles import PERCENTILES

_NO_MEASURED_PART: Final = "the run ended in its warm-up"


def run_objectives(run: Run, measured: Measured, validity: Validity) -> ObjectivesResult | None:
    """The verdicts on the objectives that a run was made for; None if there are none.

    What was decided while the run was in progress stays decided; the rest is decided on the whole run.

    Args:
        run: the run.
        measured: its records.
        validity: its validity; an INVALID run passes nothing.
    """
    objectives = run.manifest.objectives
    if not objectives:
        return None
    stopping = run.file.stopping
    confidence = CONFIDENCE if stopping is None else stopping.confidence
    early = {} if stopping is None else {result.objective: result for result in stopping.decided}
    rest = [objective for objective in objectives if objective not in early]
    late = iter(evaluate(rest, measured, run.manifest.workload.sentences, confidence))
    results = [early[objective] if objective in early else next(late) for objective in objectives]
    return ObjectivesResult.of(results, valid=validity.valid)


def evaluate(
    objectives: Sequence[Objective],
    measured: Measured,
    sentences: int,
    confidence: float = CONFIDENCE,
    *,
    over: bool = True,
) -> list[ObjectiveResult]:
    """The verdict on each of `objectives`.

    Args:
        objectives: what was asked.
        measured: the records of a run, or of its part so far.
        sentences: sentences per request.
        confidence: of the intervals.
        over: whether the run is over.
    """
    if not objectives:
        return []
    metrics = request_metrics(measured, confidence, sentences)
    if sentences == 1:
        metrics["sentence_rate"] = replace(metrics["throughput"], metric="sentence_rate")
    found = []
    for objective in objectives:
        metric = objective.quantity.metric
        estimate = metrics.get(metric) or Estimate.absent(metric, f"no {METRICS[metric].title}", confidence=confidence)
        estimate = _with_failures(objective, estimate, measured, confidence)
        counted = _counted(objective, measured) if objective.counted else None
        result = _sure_of_mean(decide(objective, estimate, measured.seconds, counted, over=over), measured.seconds)
        found.append(_about_failures(result, measured))
    return found


def _with_failures(objective: Objective, estimate: Estimate, measured: Measured, confidence: float) -> Estimate:
    """A percentile or the maximum of all requests that were due, those that failed with an infinite latency."""
    clock, _, name = objective.quantity.metric.rpartition("_")
    ok = measured.ok
    if name not in (*PERCENTILES, "max") or bool(ok.all()):
        return estimate
    if name == "max":
        return replace(estimate, center=math.inf)
    start = measured.due if clock == "from_due" else measured.sent
    latency = np.where(ok, measured.done - start, np.inf)
    return percentile_interval(estimate.metric, latency, PERCENTILES[name], confidence)


def _sure_of_mean(result: ObjectiveResult, seconds: float) -> ObjectiveResult:
    """No PASS of a mean of few values: the rare slow requests may be missing, and its interval ends too low.

    Simulated, of 3 to 20 exponential values in 6 to 11 % of cases and of log-normal ones in 12 to 17 %, instead of
    2.5 %; that it begins too high, as for a FAIL, hardly happens.
    """
    few = result.estimate.n < FEW_TIMES
    if not (few and result.verdict is Verdict.PASS and result.objective.quantity.metric.endswith("_mean")):
        return result
    number = f"{math.floor(result.estimate.n):,} effective requests"
    note = f"a mean of {number} may lack the rare slow ones; a PASS needs {FEW_TIMES}"
    more = seconds * (FEW_TIMES / max(result.estimate.n, 1.0) - 1)
    return replace(result, verdict=Verdict.CANNOT_TELL, note=note, more=more)


def _about_failures(result: ObjectiveResult, measured: Measured) -> ObjectiveResult:
    """The result with a note on the requests that failed, where latency is limited."""
    failed = int((~measured.ok).sum())
    if not failed or not result.objective.quantity.metric.startswith("from_"):
        return result
    name = result.objective.quantity.metric.rpartition("_")[2]
    how = "are left out" if name == "mean" else "count as later than every limit"
    note = f"{format_percent(failed / measured.due.size)} of the requests failed and {how}"
    return replace(result, note=f"{result.note}; {note}" if result.note else note)


def _counted(objective: Objective, measured: Measured) -> Counted:
    """The requests that decide."""
    if objective.name == "wrong":
        wrong = measured.outcome[measured.checked] == OUTCOME_CODES[Outcome.WRONG_ANSWER]
        # A wrong answer in the warm-up is a wrong answer, with which a run without objectives fails.
        warm = measured.warmup.get(Outcome.WRONG_ANSWER, 0)
        checked = wrong.size + measured.warmup_checked if wrong.size or warm else 0
        return Counted(int(wrong.sum()) + warm, checked, "checked answer", warm)
    ok = measured.ok
    if objective.name == "errors":
        return Counted(int((~ok).sum()), ok.size, "request")
    start = measured.sent if objective.quantity.metric.startswith("from_send") else measured.due
    late = (measured.done - start)[ok] > objective.limit
    # A request that failed is later than every limit.
    return Counted(int(late.sum() + (~ok).sum()), ok.size, "request")
