"""What makes a run fail whatever its objectives say: wrong answers, failed requests, lost processes."""

from collections.abc import Mapping, Sequence

from bench.analysis.run import Analysis
from bench.core.errors import ExitCode
from bench.core.units import pluralize
from bench.results.records import Outcome
from bench.serving.errors import lacks_text


def run_failure(
    analysis: Analysis, lost: Sequence[str] = (), model: object = "the run's", longer: str = "run"
) -> tuple[str, ExitCode]:
    """The line about it, and the exit code; "" and 0 for a run that does not fail.

    Failed requests do not count where an objective limits `errors`, nor wrong answers where one limits `wrong`: it
    decides instead.

    Args:
        analysis: the run.
        lost: one line for each worker process that was lost.
        model: whose golden answers the run has, for people.
        longer: what to give more of where nothing was sent.

    Returns:
        Exit code 1 for wrong answers and other failed requests, 3 if nothing was due, 4 if no request was successful or
        a process was lost.
    """
    error, code = _of_requests(analysis, model, longer)
    if lost and code is not ExitCode.INCONCLUSIVE and not _wrong_answers_decide(analysis):
        error, code = f"{'; '.join(lost)}; see how it ended, and run again", ExitCode.TARGET_FAILED
    if error and (lacks := lacks_text(analysis.run.file.lacks)):
        error = f"{error.partition(';')[0]}; {lacks}"
    return error, code


def _of_requests(analysis: Analysis, model: object, longer: str) -> tuple[str, ExitCode]:
    """What the outcomes of the requests alone say."""
    counts, limited = analysis.summary.all_counts, _limited(analysis)
    successful, wrong = counts[Outcome.OK], counts[Outcome.WRONG_ANSWER]
    failed = sum(counts.values()) - successful
    if not sum(counts.values()):
        return f"nothing was sent; give a longer {longer} or a higher rate", ExitCode.INCONCLUSIVE
    if wrong and not successful:
        return (
            f"all answers are wrong: the server may serve another model than {model}; give its export with --model-dir",
            ExitCode.REGRESSION,
        )
    if wrong and "wrong" not in limited:
        differ = "differs" if wrong == 1 else "differ"
        return (
            f"{pluralize(wrong, 'answer')} {differ} from the Estimator's; the run's records show which",
            ExitCode.REGRESSION,
        )
    if failed and not successful:
        return f"no request was successful ({counts_text(counts)}); check the server", ExitCode.TARGET_FAILED
    unlimited = 0 if "errors" in limited else failed - wrong
    return (f"{pluralize(unlimited, 'failed request')}", ExitCode.REGRESSION) if unlimited else ("", ExitCode.OK)


def _limited(analysis: Analysis) -> set[str]:
    """The quantities whose objective decides instead."""
    objectives = analysis.objectives
    return {result.objective.name for result in objectives.results} if objectives is not None else set()


def _wrong_answers_decide(analysis: Analysis) -> bool:
    """Whether wrong answers fail the run: those that no objective limits, or all answers."""
    counts = analysis.summary.all_counts
    return counts[Outcome.WRONG_ANSWER] > 0 and ("wrong" not in _limited(analysis) or not counts[Outcome.OK])


def counts_text(counts: Mapping[str, int]) -> str:
    """`1,200 ok, 3 timeout`."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
