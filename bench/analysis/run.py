"""A run, read once: its figures and whether they can be believed."""

from dataclasses import dataclass

from bench.analysis.measured import load
from bench.analysis.summary import CONFIDENCE, RunSummary, summarise
from bench.analysis.validity import Validity, ceiling_warning, judge
from bench.results.run_reader import Run


@dataclass(frozen=True)
class Analysis:
    """A run with its figures and its verdict.

    Args:
        run: the stored run.
        summary: its figures.
        validity: whether they can be believed.
        warnings: what a reader must know beside that, one line each.
    """

    run: Run
    summary: RunSummary
    validity: Validity
    warnings: tuple[str, ...]


def analyse(run: Run, confidence: float = CONFIDENCE) -> Analysis:
    """Reads the records of `run` and judges them.

    Ten million requests take about 15 s and 1.2 GB.

    Raises:
        UsageError: the records cannot be read.
    """
    measured = load(run)
    summary, validity = summarise(run, measured, confidence), judge(run, measured)
    ceiling = ceiling_warning(run)
    warnings = (*run.manifest.warnings, *((ceiling,) if ceiling else ()), *validity.warnings)
    return Analysis(run, summary, validity, warnings)
