"""The verdicts on the objectives of runs for CI systems: JUnit XML, and Markdown for a step summary or a comment."""

from collections.abc import Sequence
from pathlib import Path

from bench.analysis.run import Analysis, analyse
from bench.core.atomic_files import write_named
from bench.core.output import to_utf8
from bench.objectives.text import HEADER, objective_rows, summary_line
from bench.objectives.verdicts import ObjectiveResult, Verdict
from bench.report.junit import Case, Suite
from bench.report.pages import render
from bench.results.run_reader import Run


def write_verdicts(runs: Sequence[Run], junit: Path | None, markdown: Path | None, interrupted: str = "") -> None:
    """Writes the verdicts of `runs` as JUnit XML and as Markdown, each unless it is None.

    Args:
        runs: those that were stored.
        junit: file of the JUnit XML.
        markdown: file of the Markdown.
        interrupted: the line about the signal that ended the command before it was done; "" for none.

    Raises:
        UsageError: the records of a run cannot be read.
        OSError: a file cannot be written.
    """
    if junit is None and markdown is None:
        return
    analyses = [analyse(run) for run in runs]
    files = (junit, runs_junit(analyses, interrupted)), (markdown, to_utf8(runs_markdown(analyses, interrupted)))
    for path, data in files:
        if path is not None:
            write_named(path, data)


def runs_junit(analyses: Sequence[Analysis], interrupted: str = "") -> bytes:
    """A case for each objective of each run, and one for each run's validity.

    A FAIL is a failure; CANNOT TELL, an INVALID run and a command that was interrupted are errors.
    """
    suite = Suite("bertbench run", "bertbench.run", sum(analysis.run.file.elapsed or 0.0 for analysis in analyses))
    for analysis in analyses:
        validity = suite.case(f"{analysis.run.name}: validity", analysis.run.file.elapsed or 0.0)
        if not analysis.validity.valid:
            validity.error(str(analysis.validity))
        for result in analysis.objectives.results if analysis.objectives is not None else ():
            _fill(suite.case(f"{analysis.run.name}: {result.objective}"), result)
    if interrupted:
        suite.case("all runs were made").error(interrupted)
    return suite.to_bytes()


def _fill(case: Case, result: ObjectiveResult) -> None:
    if result.verdict is Verdict.FAIL:
        case.fail(str(result))
    elif result.verdict is Verdict.CANNOT_TELL:
        case.error(str(result))
    case.output(str(result))


def runs_markdown(analyses: Sequence[Analysis], interrupted: str = "") -> str:
    """Each run with its validity and the table of its objectives, after the line about an interruption."""
    entries = []
    for analysis in analyses:
        found = analysis.objectives
        rows = [] if found is None else objective_rows(found)
        entries.append((analysis.run.name, str(analysis.validity), "" if found is None else summary_line(found), rows))
    return render("bench.report", "objectives.md.j2", interrupted=interrupted, entries=entries, header=HEADER)
