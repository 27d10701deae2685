"""What a page carries beside its text: the charts' data as JSON, the script and the style, all within the file."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

import orjson
from markupsafe import Markup

from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis
from bench.report.runs.charts import Chart
from bench.stats.estimate import Estimate

FORMAT: Final = 1
"""Of the data in a page, which another page reads when it is dropped there."""
RUN: Final = "run"
RUNS: Final = "runs"


def page_data(kind: str, charts: Sequence[Chart], **more: Any) -> Markup:
    """The data of a page, as the content of a script element.

    Args:
        kind: `run` or `runs`.
        charts: the charts on it.
        more: further fields, plain values.
    """
    data = {"format": FORMAT, "kind": kind, "charts": [chart.to_json() for chart in charts], **more}
    # Nothing in a string may end the element or begin a comment in it.
    text = orjson.dumps(data).decode().replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(text)


def run_fields(analysis: Analysis, facts: Mapping[str, str]) -> dict[str, Any]:
    """The fields of one run's page for a comparison with another page.

    Args:
        analysis: of the run.
        facts: what was asked, and where, as texts by name.
    """
    summary, manifest = analysis.summary, analysis.run.manifest
    begins = manifest.workload.warmup
    return {
        "name": analysis.run.name,
        "valid": analysis.validity.valid,
        "arrivals": manifest.arrivals,
        "begins": begins,
        "ends": begins + summary.seconds,
        "metrics": {name: _metric(name, estimate) for name, estimate in summary.metrics.items()},
        "facts": dict(facts),
    }


def _metric(name: str, estimate: Estimate) -> dict[str, Any]:
    metric = METRICS[name]
    ends = {part: getattr(estimate, part) for part in ("center", "lo", "hi", "n")}
    return {"title": metric.title, "unit": metric.unit, "better": metric.better, **ends}


@cache
def _asset(name: str) -> str:
    return resources.files("bench.report.runs").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def script() -> Markup:
    """uPlot with its licence, and the page's own script."""
    licence = f"/*!\n{_asset('LICENSE-uPlot')}*/\n"
    return Markup(licence + _asset("uPlot.iife.min.js") + "\n" + _asset("report.js"))


@cache
def style() -> Markup:
    """uPlot's style and the page's own."""
    return Markup(_asset("uPlot.min.css") + "\n" + _asset("report.css"))


@cache
def content_policy() -> str:
    """A Content-Security-Policy by which the page loads nothing and runs its own script only."""
    digest = base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()
    # The chart library and the bars of tables set styles on elements.
    sources = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
