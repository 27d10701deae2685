"""The verdict of a gate for machines: JSON, and JUnit XML as CI systems read it.

Format history of the JSON:
    1: first.
    2: the verdict may be TARGET_FAILED or INTERRUPTED; `baseline` and `candidate` of a metric differ by exactly
       `change`; the bound of false alarms is null where the verdict does not rest on a comparison, and says what it
       covers. Later: `command` and `message`, as in the documents of all commands, and `runs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, to_builtins

from bench.cli.common.json_document import Document
from bench.core import interrupts
from bench.core.output import to_json
from bench.core.versioned_json import INDENTED, VersionedJson
from bench.gate.report.text import error_rate
from bench.gate.types import ARMS, GateReport, MetricResult, State, VerdictKind
from bench.gate.verdicts import as_change, describe_effect, format_min_effect
from bench.report.junit import Suite

FORMAT: Final = 2
VERDICT: Final = "gate.json"
"""The verdict's file in the folder of a gate's stored runs."""
PAGE: Final = "gate.html"
"""Its page there."""


def read_verdict(path: Path) -> tuple[str, str]:
    """The verdict and its reason in a JSON file of `gate_json`.

    Raises:
        UsageError: it cannot be read, or is of a newer format.
    """
    found = _FILE.read(path)
    return found.verdict, found.reason


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The fields of the file that are read."""

    verdict: str
    reason: str


def _as_before(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 2 did not change the fields that are read."""
    return raw


_FILE: Final = VersionedJson(
    _Verdict, FORMAT, name="gate verdict", cure="restore it", updates={2: _as_before}, exact=False
)


class MetricDocument(Struct, frozen=True, kw_only=True):
    """One metric in a verdict."""

    name: str
    unit: Annotated[str, Meta(description="s, 1/s, B, or share (a fraction)")]
    baseline: Annotated[float | None, Meta(description="level of the baseline, in the unit")]
    candidate: Annotated[float | None, Meta(description="level of the candidate, in the unit")]
    change: Annotated[float | None, Meta(description="of the metric, a fraction; of a share the difference")]
    worse_by: Annotated[
        float | None, Meta(description="how much worse the candidate is, a fraction; of a share the difference")
    ]
    interval: Annotated[tuple[float | None, float | None], Meta(description="ends of worse_by; null is unbounded")]
    confidence: float
    min_effect: Annotated[float, Meta(description="smallest worse_by that matters")]
    state: Literal["regression", "passed", "unclear", "not judged"]
    improved: bool
    note: Annotated[str, Meta(description="why it was not evaluated; empty if it was")]


class BothArms(Struct, frozen=True, kw_only=True):
    """A count of both arms."""

    baseline: int
    candidate: int


class CountsDocument(Struct, frozen=True, kw_only=True):
    """What was sent, and what came back."""

    requests: BothArms
    failed: BothArms
    checked: BothArms
    wrong: BothArms


class FalseAlarms(Struct, frozen=True, kw_only=True):
    """The chance of a REGRESSION where there is none."""

    bound: Annotated[float | None, Meta(description="null where the verdict does not rest on compared runs")]
    covers: str
    measured: Annotated[str | None, Meta(description="rate by `gate calibrate` on this machine, in words")]


class GateDocument(Document, frozen=True, kw_only=True):
    """The whole verdict of a gate."""

    format: int = FORMAT
    command: str = "gate"
    verdict: Literal["PASS", "REGRESSION", "INCONCLUSIVE", "TARGET_FAILED", "INTERRUPTED"]
    reason: str
    baseline: str
    candidate: str
    load: Annotated[str, Meta(description="on both; empty for stored runs")]
    seconds: Annotated[float, Meta(description="how long the gate took, seconds")]
    pairs: Annotated[int, Meta(description="valid pairs; of stored runs the runs of the smaller set")]
    runs: Annotated[BothArms | None, Meta(description="stored runs that were compared; null for a live gate")]
    invalid_pairs: int
    metrics: Sequence[MetricDocument]
    counts: CountsDocument
    false_alarms: FalseAlarms
    warnings: Sequence[str]
    folder: Annotated[
        str | None, Meta(description="of the verdict and the runs of a live gate; null if they were not stored")
    ]


def gate_document(report: GateReport) -> GateDocument:
    """The whole verdict for JSON."""
    verdict = report.verdict
    both = {
        name: BothArms(**dict(zip(ARMS, getattr(verdict, name), strict=True)))
        for name in ("requests", "failed", "checked", "wrong")
    }
    return GateDocument(
        exit_code=report.exit_code,
        message=gate_message(report),
        verdict=verdict.kind.value,
        reason=verdict.reason,
        baseline=report.baseline,
        candidate=report.candidate,
        load=report.load,
        seconds=round(report.seconds, 3),
        pairs=verdict.pairs,
        runs=None if verdict.runs is None else BothArms(**dict(zip(ARMS, verdict.runs, strict=True))),
        invalid_pairs=verdict.invalid_pairs,
        metrics=[_metric(result) for result in verdict.metrics],
        counts=CountsDocument(**both),
        false_alarms=FalseAlarms(bound=verdict.false_alarms, covers=verdict.scope, measured=report.measured),
        warnings=verdict.warnings,
        folder=report.folder,
    )


def gate_message(report: GateReport) -> str | None:
    """The line on standard error: what to do next; None after PASS."""
    verdict = report.verdict
    if report.signal is not None:
        return f"bertbench: interrupted by {interrupts.name_of(report.signal)}"
    if verdict.kind is VerdictKind.PASS:
        return None
    if verdict.kind is VerdictKind.INCONCLUSIVE:
        return f"bertbench: no verdict: {verdict.reason}"
    if verdict.kind is VerdictKind.TARGET_FAILED:
        return f"bertbench: the target failed: {verdict.reason}"
    where = "; --out DIR stores the runs for inspection" if report.load else ""
    if report.folder:
        where = f"; the {'runs are' if report.load else 'verdict is'} in {report.folder}"
    return f"bertbench: the candidate is worse: {verdict.reason}{where}"


def gate_json(report: GateReport) -> bytes:
    """The document of a gate as a file."""
    return to_json(to_builtins(gate_document(report)), option=INDENTED)


def _metric(result: MetricResult) -> MetricDocument:
    effect = result.effect
    return MetricDocument(
        name=result.metric.name,
        unit=result.metric.unit,
        baseline=result.baseline,
        candidate=result.candidate,
        change=None if effect.center is None else as_change(result.metric, effect.center),
        worse_by=effect.center,
        interval=(effect.lo, effect.hi),
        confidence=effect.confidence,
        min_effect=result.min_effect,
        state=result.state.value,
        improved=result.improved,
        note=result.note,
    )


def gate_junit(report: GateReport) -> bytes:
    """A test for each metric, one for wrong answers, and one for the verdict.

    A regression is a failure, an inconclusive gate and a failed target are errors, a metric that was not evaluated is
    skipped.
    """
    verdict = report.verdict
    suite = Suite("bertbench gate", "bertbench.gate", report.seconds)
    whole = suite.case("verdict", report.seconds)
    if verdict.kind is VerdictKind.REGRESSION:
        whole.fail(verdict.reason, error_rate(report))
    elif verdict.kind is not VerdictKind.PASS:
        whole.error(verdict.reason, error_rate(report))
    wrong = suite.case("wrong answers")
    if verdict.wrong[1]:
        wrong.fail(f"{verdict.wrong[1]} of {verdict.checked[1]} checked answers are wrong")
    elif not verdict.checked[1]:
        wrong.skip("no answer was checked")
    for result in verdict.metrics:
        case = suite.case(result.metric.label)
        if result.state is State.REGRESSION:
            case.fail(describe_effect(result), f"smallest effect {format_min_effect(result)}")
        elif result.state is State.NOT_EVALUATED:
            case.skip(result.note)
        elif result.state is State.UNCLEAR and verdict.kind is VerdictKind.INCONCLUSIVE:
            case.error(f"unclear: {describe_effect(result)}")
        case.output(describe_effect(result))
    return suite.to_bytes()
