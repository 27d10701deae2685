"""The verdicts on the objectives of runs for CI systems: JUnit XML, and Markdown for a step summary or a comment."""

from collections.abc import Sequence
from pathlib import Path

from bench.analysis.run import Analysis
from bench.analysis.run_failure import run_failure
from bench.core.atomic_files import write_named
from bench.core.errors import ExitCode
from bench.core.output import to_utf8
from bench.objectives.text import HEADER, objective_rows, summary_line
from bench.objectives.verdicts import ObjectiveResult, Verdict
from bench.report.junit import Case, Suite
from bench.report.pages import render


def write_verdicts(
    analyses: Sequence[Analysis], junit: Path | None, markdown: Path | None, cut_short: str = ""
) -> None:
    """Writes the verdicts of runs as JUnit XML and as Markdown, each unless it is None.

    Args:
        analyses: of the runs that were stored.
        junit: file of the JUnit XML.
        markdown: file of the Markdown.
        cut_short: the line about the signal or the error that ended the command before it was done; "" for none.

    Raises:
        OSError: a file cannot be written.
    """
    if junit is not None:
        write_named(junit, runs_junit(analyses, cut_short))
    if markdown is not None:
        write_named(markdown, to_utf8(runs_markdown(analyses, cut_short)))


def runs_junit(analyses: Sequence[Analysis], cut_short: str = "") -> bytes:
    """A case for each run's validity, one for its requests, and one for each of its objectives.

    A FAIL is a failure, and so are requests by which the run fails whatever its objectives say. CANNOT TELL, an INVALID
    run, a target that failed and a command that was cut short are errors.
    """
    suite = Suite("bertbench run", "bertbench.run", sum(analysis.run.file.elapsed or 0.0 for analysis in analyses))
    for analysis in analyses:
        validity = suite.case(f"{analysis.run.name}: validity", analysis.run.file.elapsed or 0.0)
        if not analysis.validity.valid:
            validity.error(str(analysis.validity))
        _fill_requests(suite.case(f"{analysis.run.name}: requests"), analysis)
        for result in analysis.objectives.results if analysis.objectives is not None else ():
            _fill(suite.case(f"{analysis.run.name}: {result.objective}"), result)
    if cut_short:
        suite.case("bertbench run came to its end").error(cut_short)
    return suite.to_bytes()


def _fill_requests(case: Case, analysis: Analysis) -> None:
    failure, code = run_failure(analysis)
    if code is ExitCode.REGRESSION:
        case.fail(failure)
    elif failure:
        case.error(failure)


def _fill(case: Case, result: ObjectiveResult) -> None:
    if result.verdict is Verdict.FAIL:
        case.fail(str(result))
    elif result.verdict is Verdict.CANNOT_TELL:
        case.error(str(result))
    case.output(str(result))


def runs_markdown(analyses: Sequence[Analysis], cut_short: str = "") -> str:
    """Each run with its validity, why it fails whatever its objectives say, and the table of its objectives.

    The line about what cut the command short comes before them.
    """
    entries = []
    for analysis in analyses:
        found = analysis.objectives
        rows = [] if found is None else objective_rows(found)
        summary = "" if found is None else summary_line(found)
        entries.append((analysis.run.name, str(analysis.validity), _failure(analysis), summary, rows))
    return render("bench.report", "objectives.md.j2", cut_short=cut_short, entries=entries, header=HEADER)


def _failure(analysis: Analysis) -> str:
    """`FAIL: 3 answers differ...`; "" for a run that does not fail by its requests."""
    failure, code = run_failure(analysis)
    return failure and f"{Verdict.CANNOT_TELL if code is ExitCode.INCONCLUSIVE else Verdict.FAIL}: {failure}"
