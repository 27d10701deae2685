"""Verdicts as rows and lines for people."""

from collections.abc import Sequence

from bench.objectives.verdicts import ObjectivesResult

HEADER = ("objective", "verdict", "value with its interval", "remark")


def summary_line(result: ObjectivesResult) -> str:
    """The verdict on all: `CANNOT TELL (the run is INVALID: ...)`."""
    return f"{result.verdict} ({result.note})" if result.note else str(result.verdict)


def objective_rows(result: ObjectivesResult) -> list[tuple[str, ...]]:
    """For each objective what `HEADER` names."""
    return [(str(entry.objective), str(entry.verdict), entry.figure, entry.remark) for entry in result.results]


def objective_lines(result: ObjectivesResult | None) -> list[str]:
    """One line on all, one on each; none without objectives."""
    if result is None:
        return []
    rows = objective_rows(result)
    return [f"objectives: {summary_line(result)}", *_aligned(rows)]


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)] if rows else []
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)).rstrip()
        for row in rows
    ]
