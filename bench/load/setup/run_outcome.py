"""The outcome of a run: its metrics, its validity and the exit code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.analysis.run import Analysis, analyse
from bench.analysis.run_failure import counts_text, run_failure
from bench.core.errors import ExitCode
from bench.core.units import format_apart, format_estimate, format_number, format_seconds, pluralize, were
from bench.load.setup.catalog import SampleRule
from bench.load.setup.run_context import option_name
from bench.objectives.text import objective_lines
from bench.objectives.verdicts import ObjectivesResult, Verdict
from bench.results.records import Outcome
from bench.results.run_folder import store_verdicts
from bench.results.run_reader import open_run
from bench.stats.estimate import Estimate

_MOST_FAILURES: Final = 3
"""Texts of failed requests in the outcome; the report has all that were counted."""
_SHOWN = ("p50", "p90", "p95", "p99")
_VERDICT_CODES: Final = {Verdict.FAIL: ExitCode.REGRESSION, Verdict.CANNOT_TELL: ExitCode.INCONCLUSIVE}


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """The outcome of a run.

    Args:
        lines: metrics and validity, for people.
        error: one line on failed requests, lost processes or objectives; "" if there is nothing to say.
        exit_code: 0; 1 for wrong answers, other failed requests or an objective that is not met; 3 if nothing was due,
            or no verdict can be given; 4 if no request got an answer, or a process of the load generator was lost.
        failed: whether Locust's `--exit-code-on-error` applies, which is about requests.
        objectives: the verdicts on its objectives; None if it has none.
    """

    lines: tuple[str, ...]
    error: str
    exit_code: ExitCode
    failed: bool = False
    objectives: ObjectivesResult | None = None

    @property
    def verdict_code(self) -> ExitCode:
        """What the objectives alone say; 0 without any."""
        return ExitCode.OK if self.objectives is None else _VERDICT_CODES.get(self.objectives.verdict, ExitCode.OK)


def describe_outcome(
    path: Path,
    model_dir: Path,
    rule: SampleRule | None = None,
    lost: Sequence[str] = (),
    command: Sequence[str] = (),
) -> RunOutcome:
    """Evaluates a finished run folder, and adds the verdicts on its objectives to its `run.json`.

    Args:
        path: the folder.
        model_dir: the export with the golden answers.
        rule: the sample size that the scenario requires.
        command: the command line of the `bertbench` that started the run, if one did.
        lost: one line for each lost worker process.

    Raises:
        UsageError: the folder cannot be read.
    """
    analysis = analyse(open_run(path, verify=False))
    summary = analysis.summary
    objectives = analysis.objectives
    error, code = run_failure(analysis, lost, model_dir, option_name("-t", command))
    lines = [_counts_line(analysis), *_failure_lines(analysis), *_latency_lines(summary.metrics)]
    for name, metrics in summary.protocols.items():
        lines += [f"{name}:", *(f"  {line}" for line in _latency_lines(metrics))]
    lines.append(_rate_line(analysis))
    lines += [*_stopping_lines(analysis), *objective_lines(objectives)]
    lines += [f"note: {warning}" for warning in (*analysis.warnings, *_rule_warnings(analysis, rule))]
    lines += [str(analysis.validity), str(path)]
    failed = code in (ExitCode.REGRESSION, ExitCode.TARGET_FAILED)
    if objectives is not None:
        store_verdicts(path, objectives)
        error, code = _with_objectives(error, code, objectives)
    return RunOutcome(tuple(lines), error, code, failed, objectives)


def _with_objectives(error: str, code: ExitCode, objectives: ObjectivesResult) -> tuple[str, ExitCode]:
    """The error and the exit code with the verdict on the objectives; the more severe one wins."""
    found = _VERDICT_CODES.get(objectives.verdict, ExitCode.OK)
    order = (ExitCode.OK, ExitCode.INCONCLUSIVE, ExitCode.REGRESSION, ExitCode.TARGET_FAILED)
    if found is ExitCode.OK or order.index(code) >= order.index(found):
        return error, code
    return objectives.line(), found


def _stopping_lines(analysis: Analysis) -> list[str]:
    """How a run that could stop by itself ended."""
    stopping = analysis.run.file.stopping
    if stopping is None:
        return []
    seconds, planned = format_seconds(analysis.summary.seconds), format_seconds(stopping.planned)
    if stopping.reason:
        return [f"stopped after {seconds} of at most {planned}: {stopping.reason}"]
    until = analysis.run.manifest.until
    if analysis.run.file.interrupted:
        return [f"ended after {seconds} of at most {planned}, before {until}"]
    return [f"ran {seconds}, the most that it may, without {until}; raise --max-duration to go on"]


def _counts_line(analysis: Analysis) -> str:
    summary = analysis.summary
    outcomes = counts_text(summary.counts) or "none"
    kinds = counts_text(summary.wrong_kinds)
    warm = sum(summary.warmup.values())
    text = f"{pluralize(summary.due, 'request')} {were(summary.due)} due: {outcomes}" + (f" ({kinds})" if kinds else "")
    if not warm:
        return text
    failed = counts_text({name: count for name, count in summary.warmup.items() if name != Outcome.OK})
    there = f" ({failed} there)" if failed else ""
    # The number of records in the run's files.
    return f"{text}; {warm:,} more in the warm-up, not counted{there}: {summary.due + warm:,} in all"


def _failure_lines(analysis: Analysis) -> list[str]:
    """What the most frequent failures said, those of the warm-up included."""
    known = [entry for entry in analysis.run.file.failures if entry.text]
    return [f"  {entry.count:,} {entry.outcome}: {entry.text}" for entry in known[:_MOST_FAILURES]]


def _latency_lines(metrics: Mapping[str, Estimate]) -> list[str]:
    """Both clocks, always."""
    lines = []
    for clock, title in (("from_due", "from due "), ("from_send", "from send")):
        shown = [f"{name} {_latency(metrics[f'{clock}_{name}'])}" for name in _SHOWN if f"{clock}_{name}" in metrics]
        if shown:
            lines.append(f"latency {title}  " + "  ".join(shown))
    return lines


def _latency(estimate: Estimate) -> str:
    return format_estimate(estimate.center, estimate.lo, estimate.hi, format_seconds)


def _rate_line(analysis: Analysis) -> str:
    """Throughput in its units, the requested rate, and the users."""
    summary, manifest = analysis.summary, analysis.run.manifest
    metrics = summary.metrics
    units = ("sentence_rate", "sentences/s"), ("throughput", "successful requests/s"), ("word_rate", "words/s")
    parts = [f"{format_number(value)} {unit}" for name, unit in units if (value := _center(metrics, name)) is not None]
    sent, flight = _center(metrics, "sent_rate"), _center(metrics, "in_flight")
    if manifest.requested_rate is not None and sent is not None:
        parts.append(f"{format_number(sent)} requests/s sent of {format_number(manifest.requested_rate, 6)} offered")
    if flight is not None:
        users = summary.users or pluralize(manifest.workload.users, "user")
        parts.append(f"{format_number(flight)} in flight on average ({users})")
    return ", ".join(parts) or "no rate"


def _center(metrics: Mapping[str, Estimate], name: str) -> float | None:
    return metrics[name].center if name in metrics else None


def _rule_warnings(analysis: Analysis, rule: SampleRule | None) -> list[str]:
    """What the benchmark's rules require and this run lacks."""
    if rule is None:
        return []
    workload = analysis.run.manifest.workload
    requests = analysis.summary.due * (workload.sentences if rule.per_sentence else 1)
    found = []
    if requests < rule.requests:
        what = "sentences" if rule.per_sentence else "requests"
        found.append(f"{rule.source} requires {rule.requests:,} {what}, this run has {requests:,}")
    # The measured part ends at a sum of floats.
    if analysis.summary.seconds < rule.seconds - 1e-6:
        required, measured = format_apart(rule.seconds, analysis.summary.seconds, format_seconds)
        found.append(f"{rule.source} requires {required}, this run measured {measured}")
    return found
