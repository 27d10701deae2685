"""The verdict of a gate for machines: JSON, and JUnit XML as CI systems read it.

Format history of the JSON:
    1: first.
    2: the verdict may be TARGET_FAILED or INTERRUPTED; `baseline` and `candidate` of a metric differ by exactly
       `change`; the bound of false alarms is null where the verdict does not rest on a comparison, and says what it
       covers.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from bench.core.output import to_json
from bench.core.versioned_json import INDENTED, VersionedJson
from bench.gate.report.text import error_rate
from bench.gate.results import ARMS, as_change, describe_effect
from bench.gate.types import GateReport, MetricResult, State, VerdictKind

FORMAT: Final = 2
VERDICT: Final = "gate.json"
"""The verdict's file in the folder of a gate's stored runs."""
# Characters that XML 1.0 does not allow; a server may write anything into its log.
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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


def gate_json(report: GateReport) -> bytes:
    """The whole verdict; effects are fractions by which the candidate is worse, times seconds, sizes bytes."""
    verdict = report.verdict
    body = {
        "format": FORMAT,
        "verdict": str(verdict.kind),
        "reason": verdict.reason,
        "exit_code": report.exit_code,
        "baseline": report.baseline,
        "candidate": report.candidate,
        "load": report.load,
        "seconds": round(report.seconds, 3),
        "pairs": verdict.pairs,
        "invalid_pairs": verdict.invalid_pairs,
        "metrics": [_metric(result) for result in verdict.metrics],
        "counts": {
            name: dict(zip(ARMS, getattr(verdict, name), strict=True))
            for name in ("requests", "failed", "checked", "wrong")
        },
        "false_alarms": {"bound": verdict.false_alarms, "covers": verdict.scope, "measured": report.measured},
        "warnings": list(verdict.warnings),
        "folder": report.folder,
    }
    return to_json(body, option=INDENTED)


def _metric(result: MetricResult) -> dict[str, Any]:
    effect = result.effect
    return {
        "name": result.metric.name,
        "unit": result.metric.unit,
        "baseline": result.baseline,
        "candidate": result.candidate,
        "change": None if effect.center is None else as_change(result.metric, effect.center),
        "worse_by": effect.center,
        "interval": [effect.lo, effect.hi],
        "confidence": effect.confidence,
        "min_effect": result.min_effect,
        "state": str(result.state),
        "improved": result.improved,
        "note": result.note,
    }


def gate_junit(report: GateReport) -> bytes:
    """A test for each metric, one for wrong answers, and one for the verdict.

    A regression is a failure, an inconclusive gate and a failed target are errors, a metric that was not evaluated is
    skipped.
    """
    verdict = report.verdict
    suite = ElementTree.Element("testsuite", name="bertbench gate", time=f"{report.seconds:.3f}")
    whole = _case(suite, "verdict", report.seconds)
    if verdict.kind is VerdictKind.REGRESSION:
        _problem(whole, "failure", verdict.reason, error_rate(report))
    elif verdict.kind is not VerdictKind.PASS:
        _problem(whole, "error", verdict.reason, error_rate(report))
    wrong = _case(suite, "wrong answers")
    if verdict.wrong[1]:
        _problem(wrong, "failure", f"{verdict.wrong[1]} of {verdict.checked[1]} checked answers are wrong")
    elif not verdict.checked[1]:
        ElementTree.SubElement(wrong, "skipped", message="no answer was checked")
    for result in verdict.metrics:
        case = _case(suite, result.metric.label)
        if result.state is State.REGRESSION:
            _problem(case, "failure", describe_effect(result), f"smallest effect {result.min_effect:.2%}")
        elif result.state is State.NOT_EVALUATED:
            ElementTree.SubElement(case, "skipped", message=result.note)
        elif result.state is State.UNCLEAR and verdict.kind is VerdictKind.INCONCLUSIVE:
            _problem(case, "error", f"unclear: {describe_effect(result)}")
        ElementTree.SubElement(case, "system-out").text = describe_effect(result)
    for name in ("failure", "error", "skipped"):
        attribute = {"failure": "failures", "error": "errors", "skipped": "skipped"}[name]
        suite.set(attribute, str(len(suite.findall(f"testcase/{name}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    found: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return found + b"\n"


def _case(suite: ElementTree.Element, name: str, seconds: float = 0.0) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname="bertbench.gate", name=name, time=f"{seconds:.3f}")


def _problem(case: ElementTree.Element, kind: str, message: str, text: str = "") -> None:
    message = _NOT_XML.sub("?", message)
    ElementTree.SubElement(case, kind, message=message, type=kind).text = text or message
