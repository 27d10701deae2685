"""The first screen of a run's report: a verdict, sentences and four large figures.

The same content opens `report.html` and `report.md`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from bench.analysis.bottleneck import Bottleneck, bottleneck
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.core.units import ABSENT, format_number, format_seconds, pluralize, were
from bench.objectives.text import summary_line
from bench.objectives.verdicts import Verdict
from bench.report import text
from bench.report.screen import BAD, GOOD, PLAIN, Figure, FirstScreen, Objective, shown
from bench.stats.percentiles import PERCENTILES

_TAILS: Final = ("p99", "p95", "p90", "p50")
"""Percentiles that the large figure may be, the first that the run can give."""
_SMALLER: Final = ("p95", "p50")
MET: Final[Mapping[Verdict, bool | None]] = {Verdict.PASS: True, Verdict.FAIL: False, Verdict.CANNOT_TELL: None}
"""Whether an objective is met, by its verdict."""


def first_screen(analysis: Analysis) -> FirstScreen:
    """The first screen of one run."""
    valid, answers = analysis.validity.valid, list(_answers_sentences(analysis))
    good = analysis.summary.counts["ok"] == analysis.summary.due and not analysis.summary.all_wrong
    return FirstScreen(
        word="VALID" if valid else "INVALID",
        state=GOOD if valid else BAD,
        headline=_headline(analysis),
        reasons=analysis.validity.reasons,
        alarms=[] if good else answers,
        sentences=[*(answers if good else ()), *_latency_sentences(analysis), *_throughput_sentences(analysis)],
        figures=[_answers(analysis), _latency(analysis), _throughput(analysis), _limit(bottleneck(analysis))],
        objectives=list(_objectives(analysis)),
        objectives_verdict="" if analysis.objectives is None else summary_line(analysis.objectives),
    )


def _objectives(analysis: Analysis) -> Iterator[Objective]:
    """The objectives of the run with their outcomes, those that were missed first."""
    found = () if analysis.objectives is None else analysis.objectives.results
    for result in sorted(found, key=lambda result: result.verdict is not Verdict.FAIL):
        yield Objective(f"{result.objective}: {result.figure}", MET[result.verdict], result.remark)


def _headline(analysis: Analysis) -> str:
    checks = analysis.validity.checks
    if not analysis.validity.valid:
        return "Do not decide anything by these figures."
    passed, open_ones = (sum(check.passed is state for check in checks) for state in (True, None))
    unchecked = f", {open_ones:,} not checked" if open_ones else ""
    return f"These figures can be used. {pluralize(passed, 'rule')} passed{unchecked}."


def _answers_sentences(analysis: Analysis) -> Iterator[str]:
    summary = analysis.summary
    checked, wrong = analysis.summary.checked, summary.counts["wrong_answer"]
    if warm := summary.all_wrong - wrong:
        yield f"{warm:,} of {pluralize(summary.warmup_checked, 'checked answer')} in the warm-up {were(warm)} wrong."
    if not checked and not warm:
        yield "No answer was checked, so nothing is known of whether they are right."
    elif wrong:
        kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in summary.wrong_kinds.items())
        yield f"{wrong:,} of {pluralize(checked, 'checked answer')} {were(wrong)} wrong ({kinds})."
    elif checked:
        later = " after it" if warm else ""
        yield f"Every answer that was checked{later} is right: {checked:,} of {checked:,}."
    lost = summary.due - summary.counts["ok"] - wrong
    if lost:
        kinds = ", ".join(
            f"{count:,} {name.replace('_', ' ')}"
            for name, count in summary.counts.items()
            if count and name not in ("ok", "wrong_answer")
        )
        yield f"{lost:,} of {pluralize(summary.due, 'request')} got no answer ({kinds})."
    if lost and wrong:
        yield f"{lost + wrong:,} requests failed in all."


def _latency_sentences(analysis: Analysis) -> Iterator[str]:
    metrics = analysis.summary.metrics
    name = _tail(analysis)
    if name is None:
        return
    tail, middle = metrics[f"from_due_{name}"], metrics["from_due_p50"]
    bounds = text.interval(METRICS[tail.metric], tail)
    assert tail.center is not None
    line = f"{name.removeprefix('p')} % of the successful requests took {format_seconds(tail.center)} or less"
    line += f" {bounds}" if bounds else ""
    if name != "p50" and middle.center is not None:
        line += f", half of them {format_seconds(middle.center)} or less"
    yield f"{line}, from when they were due."
    for higher in _TAILS[: _TAILS.index(name)]:
        for warning in metrics[f"from_due_{higher}"].warnings[:1]:
            yield f"No {higher} is given: {warning}."
            return


def _throughput_sentences(analysis: Analysis) -> Iterator[str]:
    rate = analysis.summary.metrics["throughput"]
    if rate.center is None:
        return
    interval = text.interval(METRICS["throughput"], rate)
    yield (
        f"{text.metric_value(METRICS['throughput'], rate.center)} successful requests/s {interval}".rstrip()
        + f" for {format_seconds(analysis.summary.seconds)}, with "
        + f"{analysis.summary.users or pluralize(analysis.run.manifest.workload.users, 'user')}."
    )


def _answers(analysis: Analysis) -> Figure:
    summary, checked = analysis.summary, analysis.summary.checked
    wrong, failed = summary.all_wrong, summary.due - summary.counts["ok"]
    values = [shown("error_share", summary.metrics.get("error_share"))]
    if checked:
        values.insert(0, shown("wrong_share", summary.metrics.get("wrong_share")))
    if not checked and not wrong:
        return Figure("Answers", "not checked", BAD if failed else PLAIN, values, ["none was compared"])
    notes = [f"{checked:,} of {pluralize(summary.due, 'request')} compared with the Estimator's answers"]
    if warm := wrong - summary.counts["wrong_answer"]:
        notes.append(f"{warm:,} wrong in the warm-up")
    if wrong:
        return Figure("Answers", f"{wrong:,} wrong", BAD, values, notes)
    return Figure("Answers", "all right", BAD if failed else GOOD, values, notes)


def _latency(analysis: Analysis) -> Figure:
    metrics = analysis.summary.metrics
    name = _tail(analysis)
    if name is None:
        few = metrics["from_due_p50"].warnings[:1] if analysis.summary.counts["ok"] else ()
        return Figure("Latency from due", ABSENT, BAD, [], few or ["no request was successful"])
    values = [shown(f"from_due_{name}", metrics[f"from_due_{name}"], name)]
    values += [
        shown(f"from_due_{other}", metrics[f"from_due_{other}"], other)
        for other in _SMALLER
        if _TAILS.index(other) > _TAILS.index(name) and metrics[f"from_due_{other}"].center is not None
    ]
    notes = [] if name == "p99" else list(metrics["from_due_p99"].warnings[:1])
    if metrics[f"from_due_{name}"].center is not None and metrics[f"from_due_{name}"].hi is None:
        notes.append("too few requests for the upper end of the interval")
    failed, missing = _failed_note(analysis, name)
    return Figure(f"Latency from due, {name}", "", BAD if missing else PLAIN, values, [*failed, *notes])


def _failed_note(analysis: Analysis, name: str) -> tuple[list[str], bool]:
    """What failed requests mean for a percentile; whether so many failed that all requests have no such percentile."""
    summary = analysis.summary
    failed = summary.due - summary.counts["ok"]
    if not failed:
        return [], False
    # 1 - 0.9 is less than a tenth, so the successful ones are compared: 45 of 50 are nine tenths.
    missing = summary.counts["ok"] / summary.due < PERCENTILES[name]
    note = f"{pluralize(failed, 'failed request')} left out"
    if missing:
        them, share = "it" if failed == 1 else "them", name.removeprefix("p")
        note += f"; with {them}, fewer than {share} % of all had a right answer at any latency"
    return [note], missing


def _throughput(analysis: Analysis) -> Figure:
    metrics, manifest = analysis.summary.metrics, analysis.run.manifest
    values = [shown("throughput", metrics.get("throughput"))]
    values += [
        shown(name, metrics[name])
        for name in ("sentence_rate", "word_rate")
        if name in metrics and metrics[name].center is not None
    ]
    notes = []
    if manifest.requested_rate is not None:
        notes.append(f"offered load {format_number(manifest.requested_rate)} requests/s")
    state = PLAIN if metrics["throughput"].center else BAD
    return Figure("Successful requests/s", "", state, values, notes)


def _limit(found: Bottleneck) -> Figure:
    return Figure("What limits it", str(found.limit), PLAIN, [], [found.text])


def _tail(analysis: Analysis) -> str | None:
    """The highest percentile up to p99 that the run can give."""
    metrics = analysis.summary.metrics
    return next((name for name in _TAILS if metrics[f"from_due_{name}"].center is not None), None)
