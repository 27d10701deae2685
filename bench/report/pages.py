r"""Pages from jinja2 templates: `NAME.md.j2` as Markdown, `NAME.html.j2` as HTML, both escaped unless marked safe.

A package keeps its templates in `templates/` and finds those of this package too, such as `tables.md.j2`:

    {% from "tables.md.j2" import table %}
    # {{ title }}
    {{ table(("metric", "value"), rows) }}

In Markdown every value that is printed goes through `escape_markdown`; `| safe` leaves it out, and `| code` makes a
code span. `join` would have its separator escaped as well: write a loop.
"""

import re
from functools import cache
from typing import Any, Final

import jinja2
from markupsafe import Markup

from bench.core.output import legible
from bench.report.glossary import explained

_SHARED: Final = "bench.report"

_SPECIAL: Final = re.compile(
    r"[\\|<*`$]"
    # A tilde between blanks strikes nothing out.
    r"|~(?=\S)|(?<=\S)~"
    # An underscore inside a word begins no emphasis.
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
    # A bracket alone is text; with what follows it is the end of a link's text, a footnote or a definition.
    r"|\](?=[(\[:])"
    r"|&(?=#?\w+;)"
    # What is a heading, a list, a quotation or a line at the start of a line, where a value may stand.
    r"|^(?:#{1,6}(?=\s|$)|[-+](?=\s|$)|>|[-=]{3,}(?=\s*$)|\[(?=[ xX]\]\s))"
    r"|^(?P<number>\d+)(?P<dot>[.)])(?=\s|$)"
)


def render(package: str, template: str, **values: Any) -> str:
    """The page that `template` of `package` makes of `values`.

    Raises:
        jinja2.TemplateError: the template is not there, or prints a value that is not given.
    """
    return _environment(package, markdown=template.endswith(".md.j2")).get_template(template).render(**values)


def escape_markdown(value: object) -> Markup:
    """`value` as Markdown that shows it as it is, in one line, also in a table's cell."""
    if isinstance(value, Markup):
        return value
    return Markup(_SPECIAL.sub(_escaped, _one_line(value)))


def code_span(value: object) -> Markup:
    """`value` as a code span, also in a table's cell."""
    text = _one_line(value).replace("|", r"\|")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return Markup(f"{fence}{pad}{text}{pad}{fence}")


def _one_line(value: object) -> str:
    return legible(" ".join(str(value).split()))


def _escaped(found: "re.Match[str]") -> str:
    if found["number"]:
        return f"{found['number']}\\{found['dot']}"
    return {"<": "&lt;", "&": "&amp;"}.get(found[0], f"\\{found[0]}")


@cache
def _environment(package: str, markdown: bool) -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in dict.fromkeys((package, _SHARED))]),
        autoescape=True,
        finalize=escape_markdown if markdown else None,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    found.filters["code"] = code_span
    found.filters["explained"] = explained
    return found
