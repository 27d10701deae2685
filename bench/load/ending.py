"""What a run says at its end: its figures, whether they can be believed, and the exit code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.analysis import Analysis, analyse
from bench.errors import ExitCode
from bench.load.options import SampleRule
from bench.load.told import option_name
from bench.results.records import Outcome
from bench.results.run import open_run
from bench.stats.summary import Summary
from bench.units import format_seconds

_SHOWN = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run.

    Args:
        lines: figures and verdict, for people.
        error: one line on what went wrong with the server's answers; "" if nothing did.
        exit_code: 0; 1 for wrong answers or other failures; 3 if nothing was due; 4 if no request got an answer at all.
    """

    lines: tuple[str, ...]
    error: str
    exit_code: ExitCode


def describe_end(path: Path, model_dir: Path, rule: SampleRule | None = None) -> RunEnd:
    """Reads a finished run folder.

    Args:
        path: the folder.
        model_dir: the export whose answers were checked against.
        rule: sample sizes that the scenario asks for.

    Raises:
        UsageError: the folder cannot be read.
    """
    analysis = analyse(open_run(path, verify=False))
    summary = analysis.summary
    # A wrong answer in the warm-up is a wrong answer.
    error, code = _judge({name: count + summary.warmup[name] for name, count in summary.counts.items()}, model_dir)
    lines = [_counts_line(analysis), *_latency_lines(summary.metrics)]
    for name, metrics in summary.protocols.items():
        lines += [f"{name}:", *(f"  {line}" for line in _latency_lines(metrics))]
    lines.append(_rate_line(analysis))
    lines += [f"note: {warning}" for warning in (*analysis.warnings, *_rule_warnings(analysis, rule))]
    lines += [str(analysis.validity), str(path)]
    return RunEnd(tuple(lines), error, code)


def _judge(counts: Mapping[str, int], model_dir: Path) -> tuple[str, ExitCode]:
    good, wrong = counts[Outcome.OK], counts[Outcome.WRONG_ANSWER]
    failed = sum(counts.values()) - good
    if not sum(counts.values()):
        return f"nothing was sent; give a longer {option_name('-t')} or a higher rate", ExitCode.INCONCLUSIVE
    if wrong and not good:
        return (
            f"every answer that came is wrong: the server may hold another model than {model_dir}; name the export "
            "that it serves with --model-dir",
            ExitCode.REGRESSION,
        )
    if wrong:
        return f"{wrong} answers differ from the Estimator's; the run's records tell which", ExitCode.REGRESSION
    if failed and not good:
        return "no request got an answer; check the server", ExitCode.TARGET_FAILED
    return (f"{failed} requests did not end well", ExitCode.REGRESSION) if failed else ("", ExitCode.GOOD)


def _counts_line(analysis: Analysis) -> str:
    summary = analysis.summary
    outcomes = ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count) or "none"
    kinds = ", ".join(f"{count} {name}" for name, count in summary.wrong_kinds.items())
    warm = sum(summary.warmup.values())
    text = f"{summary.due} requests were due: {outcomes}" + (f" ({kinds})" if kinds else "")
    return text + (f"; {warm} more in the warm-up, not counted" if warm else "")


def _latency_lines(metrics: Mapping[str, Summary]) -> list[str]:
    """Both clocks, always."""
    lines = []
    for clock, title in (("from_due", "from due "), ("from_send", "from send")):
        shown = [f"{name} {_estimate(metrics[f'{clock}_{name}'])}" for name in _SHOWN if f"{clock}_{name}" in metrics]
        if shown:
            lines.append(f"latency {title}  " + "  ".join(shown))
    return lines


def _estimate(summary: Summary) -> str:
    """`12.3 ms [11.9, 12.8]`; a figure that the data do not carry is `-`."""
    if summary.center is None:
        return "-"
    if summary.lo is None or summary.hi is None:
        return f"{format_seconds(summary.center)} [?]"
    return f"{format_seconds(summary.center)} [{format_seconds(summary.lo)}, {format_seconds(summary.hi)}]"


def _rate_line(analysis: Analysis) -> str:
    metrics, header = analysis.summary.metrics, analysis.run.header
    parts = []
    rate, sent, flight = (metrics.get(name) for name in ("throughput", "sent_rate", "in_flight"))
    if rate is not None and rate.center is not None:
        parts.append(f"{rate.center:.4g} good answers/s")
    if header.requested_rate is not None and sent is not None and sent.center is not None:
        parts.append(f"{sent.center:.4g} requests/s sent of {header.requested_rate:.4g} asked")
    if flight is not None and flight.center is not None:
        parts.append(f"{flight.center:.3g} in flight on average ({header.workload.users} users)")
    return ", ".join(parts) or "no rate"


def _rule_warnings(analysis: Analysis, rule: SampleRule | None) -> list[str]:
    """What a benchmark's rules ask for and this run has not got."""
    if rule is None:
        return []
    workload = analysis.run.header.workload
    requests = analysis.summary.due * (workload.sentences if rule.per_sentence else 1)
    found = []
    if requests < rule.requests:
        what = "sentences" if rule.per_sentence else "requests"
        found.append(f"{rule.source} asks for {rule.requests} {what}, this run has {requests}")
    if workload.duration < rule.seconds:
        asked, measured = format_seconds(rule.seconds), format_seconds(workload.duration)
        found.append(f"{rule.source} asks for {asked}, this run measured {measured}")
    return found
