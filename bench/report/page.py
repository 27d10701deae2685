"""What a page carries beside its text: the charts' data as JSON, the script and the style, all within the file."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from markupsafe import Markup

import bench
from bench.core.output import to_json
from bench.report.charts import Chart
from bench.report.glossary import terms_section
from bench.report.pages import render

FORMAT: Final = 1
"""Of the data in a page, which another page reads when it is dropped there."""
RUN: Final = "run"
"""The kind of page that can be compared with another."""


def render_page(
    package: str,
    template: str,
    charts: Sequence[Chart],
    sections: Sequence[tuple[str, str]],
    data: Markup,
    **values: Any,
) -> str:
    """A page of a template that extends `base.html.j2`.

    Args:
        package: that has the template.
        template: its name.
        charts: those on the page; the template puts them into their places.
        sections: the element's id and the title of each, for the navigation.
        data: by `page_data`.
        values: what the template needs.
    """
    own = {"policy": content_policy(), "script": script(), "style": style(), "version": bench.__version__}
    by_name = {chart.name: chart for chart in charts}
    html = render(package, template, charts=by_name, sections=sections, data=data, **own, **values)
    return html.replace("<!-- terms -->", terms_section(html), 1)


def page_data(kind: str, charts: Sequence[Chart], **more: Any) -> Markup:
    """The data of a page, as the content of a script element.

    Args:
        kind: what the page is of.
        charts: the charts on it.
        more: further fields, plain values.
    """
    data = {"format": FORMAT, "kind": kind, "charts": [chart.to_json() for chart in charts], **more}
    # Nothing in a string may end the element or begin a comment in it.
    text = to_json(data).decode().replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(text)


@cache
def _asset(name: str) -> str:
    return resources.files("bench.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def script() -> Markup:
    """uPlot with its licence, and the page's own scripts."""
    licence = f"/*!\n{_asset('LICENSE-uPlot')}*/\n"
    return Markup(licence + "\n".join(map(_asset, ("uPlot.iife.min.js", "format.js", "report.js"))))


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
