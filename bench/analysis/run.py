"""A run, read once: its metrics and whether they are valid."""

from dataclasses import dataclass

from bench.analysis.measured import Measured, load
from bench.analysis.objectives import run_objectives
from bench.analysis.summary import CONFIDENCE, RunSummary, summarise
from bench.analysis.validity import Validity, ceiling_warning, check_validity
from bench.objectives.verdicts import ObjectivesResult
from bench.results.run_reader import Run


@dataclass(frozen=True)
class Analysis:
    """A run with its metrics and its validity.

    Args:
        run: the stored run.
        summary: its metrics.
        validity: whether they are valid, with the checks.
        warnings: further warnings, one line each.
        objectives: the verdicts on its objectives; None if it has none.
    """

    run: Run
    summary: RunSummary
    validity: Validity
    warnings: tuple[str, ...]
    objectives: ObjectivesResult | None = None


def analyse(run: Run, confidence: float = CONFIDENCE, measured: Measured | None = None) -> Analysis:
    """The analysis of `run`.

    Ten million requests take about 15 s and 1.2 GB.

    Args:
        run: the stored run.
        confidence: of each interval.
        measured: its records, for callers that need them too; read here if None.

    Raises:
        UsageError: the records cannot be read.
    """
    measured = load(run) if measured is None else measured
    summary, validity = summarise(run, measured, confidence), check_validity(run, measured)
    ceiling = ceiling_warning(run)
    found = run.file.warmup.note if run.file.warmup is not None else ""
    warnings = (
        *run.manifest.warnings,
        *([found] if found else []),
        *((ceiling,) if ceiling else ()),
        *validity.warnings,
    )
    return Analysis(run, summary, validity, warnings, run_objectives(run, measured, validity))
