"""Runs, repeats and comparisons as plain typed values, which the JSON documents of several commands hold."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from bench.analysis.compare import Comparison
from bench.analysis.metrics import METRICS, Metric
from bench.analysis.repeats import Repeats
from bench.analysis.run import Analysis
from bench.objectives.verdicts import ObjectiveResult, ObjectivesResult
from bench.results.failures import FailureText
from bench.results.run_reader import Run
from bench.stats.estimate import Estimate
from bench.workload.workload import Workload

Unit = Annotated[str, Meta(description="s, 1/s, B, cores, W, J, share (a fraction), or empty for a count")]
Better = Annotated[Literal["lower", "higher"] | None, Meta(description="which is better; null where neither is")]
End = Annotated[float | None, Meta(description="in the metric's unit; null where unknown or unbounded")]


class MetricValue(Struct, frozen=True, kw_only=True):
    """The estimate of a metric with its confidence interval."""

    unit: Unit
    better: Better
    center: End
    lo: End
    hi: End
    confidence: float
    n: Annotated[float, Meta(description="independent values that the interval is based on; 0 without an interval")]
    warnings: Sequence[str]


class CheckValue(Struct, frozen=True, kw_only=True):
    """One check of a run's validity."""

    name: str
    passed: Annotated[bool | None, Meta(description="null if it could not be made")]
    text: str


class ObjectiveValue(Struct, frozen=True, kw_only=True):
    """The verdict on one objective."""

    objective: Annotated[str, Meta(description="in a form that --slo takes: p99<=2000ms for p99<=2s")]
    metric: Annotated[str, Meta(description="its name in metrics")]
    limit: Annotated[float, Meta(description="in the metric's unit")]
    verdict: Literal["PASS", "FAIL", "CANNOT TELL"]
    value: Annotated[
        MetricValue, Meta(description="what decided; the intervals of looks are wider than those of metrics")
    ]
    note: Annotated[str, Meta(description="what decided, or what is missing; empty where the interval says it all")]
    more: Annotated[float | None, Meta(description="seconds that would probably decide; null where decided or unknown")]
    look: Annotated[int | None, Meta(description="the look that decided it; null at the end of the run")]


class ObjectivesValue(Struct, frozen=True, kw_only=True):
    """The verdicts on the objectives of a run."""

    verdict: Literal["PASS", "FAIL", "CANNOT TELL"]
    note: Annotated[str, Meta(description="why the whole is not what the results say; empty if it is")]
    results: Sequence[ObjectiveValue]


class StoppingValue(Struct, frozen=True, kw_only=True):
    """The looks at a run that could stop by itself."""

    until: Annotated[str, Meta(description="as --until has it")]
    planned: Annotated[float, Meta(description="the longest measured time, seconds")]
    looks: int
    reason: Annotated[str, Meta(description="why it stopped; empty if it ran to the planned end")]


class RunValue(Struct, frozen=True, kw_only=True):
    """A stored run; `run.json` in its folder has the whole manifest."""

    name: str
    path: str
    started: Annotated[str, Meta(description="UTC")]
    target: str
    arrivals: str
    open_loop: bool
    workload: Workload
    group: Annotated[str, Meta(description="the same for all repeats of one command")]
    repeat: int
    valid: bool
    reasons: Annotated[Sequence[str], Meta(description="why the run is INVALID")]
    checks: Sequence[CheckValue]
    warnings: Sequence[str]
    seconds: Annotated[float, Meta(description="length of the measured part, seconds")]
    due: Annotated[int, Meta(description="requests due in the measured part: the sum of counts")]
    counts: Annotated[Mapping[str, int], Meta(description="requests of the measured part by outcome")]
    wrong_kinds: Annotated[Mapping[str, int], Meta(description="wrong answers by kind")]
    warmup: Annotated[Mapping[str, int], Meta(description="requests of the warm-up by outcome, not in counts")]
    failures: Annotated[
        Sequence[FailureText],
        Meta(description='what failed requests said, those of the warm-up included; "" for all other texts'),
    ]
    metrics: Mapping[str, MetricValue]
    protocols: Annotated[
        Mapping[str, Mapping[str, MetricValue]], Meta(description="the metrics of each protocol, in a run with both")
    ]
    objectives: Annotated[ObjectivesValue | None, Meta(description="null without objectives")]
    stopping: Annotated[StoppingValue | None, Meta(description="null if it could not stop by itself")]


class RepeatsValue(Struct, frozen=True, kw_only=True):
    """The repeats of one command with the same arrivals, together."""

    group: str
    scenario: str
    arrivals: str
    runs: Annotated[Sequence[str], Meta(description="their names")]
    valid: Annotated[int, Meta(description="VALID ones, over which the metrics are means")]
    metrics: Annotated[Mapping[str, MetricValue], Meta(description="with the interval between runs")]


class DifferenceValue(Struct, frozen=True, kw_only=True):
    """A field of the manifests that differs between the sides."""

    name: str
    before: Any
    after: Any


class ChangeValue(Struct, frozen=True, kw_only=True):
    """The change of one metric."""

    before: MetricValue
    after: MetricValue
    change: Annotated[
        MetricValue, Meta(description="after / before, without a unit; of a share after - before, a share")
    ]
    verdict: Annotated[
        Literal["better", "worse", "higher", "lower", "~", "?"],
        Meta(description="~ is no significant change, ? no interval"),
    ]
    detectable: Annotated[
        float | None,
        Meta(description="the smallest change that is shown in four cases of five: after / before - 1, or of a share"),
    ]


class ComparisonValue(Struct, frozen=True, kw_only=True):
    """The comparison of two sides."""

    before: Annotated[Sequence[str], Meta(description="names of the first side's runs")]
    after: Annotated[Sequence[str], Meta(description="names of the second side's runs")]
    warnings: Sequence[str]
    differences: Sequence[DifferenceValue]
    changes: Annotated[Mapping[str, ChangeValue], Meta(description="by metric")]


def metric_value(metric: Metric, estimate: Estimate) -> MetricValue:
    """An estimate of `metric`."""
    return _value(estimate, metric.unit, metric.better)


def run_value(analysis: Analysis) -> RunValue:
    """One run."""
    run, summary, validity = analysis.run, analysis.summary, analysis.validity
    manifest = run.manifest
    return RunValue(
        name=run.name,
        path=str(run.path),
        started=manifest.started,
        target=manifest.target,
        arrivals=manifest.arrivals,
        open_loop=manifest.open_loop,
        workload=manifest.workload,
        group=manifest.group,
        repeat=manifest.repeat,
        valid=validity.valid,
        reasons=validity.reasons,
        checks=[CheckValue(name=check.name, passed=check.passed, text=check.text) for check in validity.checks],
        warnings=analysis.warnings,
        seconds=summary.seconds,
        due=summary.due,
        counts=summary.counts,
        wrong_kinds=summary.wrong_kinds,
        warmup=summary.warmup,
        failures=run.file.failures,
        metrics=_metrics(summary.metrics),
        protocols={name: _metrics(metrics) for name, metrics in summary.protocols.items()},
        objectives=None if analysis.objectives is None else _objectives(analysis.objectives),
        stopping=_stopping(run),
    )


def _objectives(found: ObjectivesResult) -> ObjectivesValue:
    return ObjectivesValue(verdict=found.verdict.value, note=found.note, results=list(map(_objective, found.results)))


def _objective(result: ObjectiveResult) -> ObjectiveValue:
    metric = result.objective.quantity.metric
    return ObjectiveValue(
        objective=str(result.objective),
        metric=metric,
        limit=result.objective.limit,
        verdict=result.verdict.value,
        value=metric_value(METRICS[metric], result.estimate),
        note=result.note,
        more=result.more,
        look=result.look,
    )


def _stopping(run: Run) -> StoppingValue | None:
    found, until = run.file.stopping, run.manifest.until
    if found is None or until is None:
        return None
    return StoppingValue(until=str(until), planned=found.planned, looks=found.looks, reason=found.reason)


def repeats_value(repeats: Repeats) -> RepeatsValue:
    """A group of repeats."""
    manifest = repeats.runs[0].run.manifest
    return RepeatsValue(
        group=manifest.group,
        scenario=manifest.workload.scenario,
        arrivals=manifest.arrivals,
        runs=[run.run.name for run in repeats.runs],
        valid=len(repeats.valid),
        metrics=_metrics(repeats.means),
    )


def comparison_value(comparison: Comparison) -> ComparisonValue:
    """A comparison."""
    return ComparisonValue(
        before=comparison.before,
        after=comparison.after,
        warnings=comparison.warnings,
        differences=[
            DifferenceValue(name=entry.name, before=entry.before, after=entry.after) for entry in comparison.differences
        ],
        changes={
            change.metric.name: ChangeValue(
                before=metric_value(change.metric, change.before),
                after=metric_value(change.metric, change.after),
                change=_value(change.change, "share" if change.metric.unit == "share" else "", change.metric.better),
                verdict=change.verdict,
                detectable=change.detectable,
            )
            for change in comparison.changes
        },
    )


def _metrics(estimates: Mapping[str, Estimate]) -> dict[str, MetricValue]:
    return {name: metric_value(METRICS[name], estimate) for name, estimate in estimates.items()}


def _value(estimate: Estimate, unit: str, better: Literal["lower", "higher"] | None) -> MetricValue:
    return MetricValue(
        unit=unit,
        better=better,
        center=estimate.center,
        lo=estimate.lo,
        hi=estimate.hi,
        confidence=estimate.confidence,
        n=estimate.n,
        warnings=estimate.warnings,
    )
