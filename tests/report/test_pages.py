"""Templates as pages: what a value holds is shown as it is, in Markdown and in HTML."""

import jinja2
import pytest

from bench.report.pages import code_span, escape_markdown, render


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("two\nlines\t here", "two lines here"),
        ("<b>*bold*</b>", r"&lt;b>\*bold\*&lt;/b>"),
        ("wrong_answer", "wrong_answer"),
        ("_emphasis_ and --a_b", r"\_emphasis\_ and --a_b"),
        ("`code`", r"\`code\`"),
        (12, "12"),
        ("![x](http://a/b.png) [c](d)", r"![x\](http://a/b.png) [c\](d)"),
        ("[a]: http://b", r"[a\]: http://b"),
        ("7.67 ms [7.09 … 8.22 ms]", "7.67 ms [7.09 … 8.22 ms]"),
        ("&lt;img&gt; &#60; a & b", "&amp;lt;img&amp;gt; &amp;#60; a & b"),
        ("# heading", r"\# heading"),
        ("> quoted", r"\> quoted"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("---", r"\---"),
        ("[x] done", r"\[x] done"),
        ("-5 % #3 a-b 1.5", "-5 % #3 a-b 1.5"),
        ("~~gone~~ $x$", r"\~\~gone\~\~ \$x\$"),
        ("\x1b[2J \u202e \x9b", r"\\x1b[2J \\u202e \\x9b"),
    ],
)
def test_markdown_shows_a_value_as_it_is(text: object, markdown: str) -> None:
    assert escape_markdown(text) == markdown
    assert escape_markdown(escape_markdown(text)) == markdown


@pytest.mark.parametrize(
    ("text", "span"), [("a_b", "`a_b`"), ("a|b", r"`a\|b`"), ("a`b", "`` a`b ``"), ("a\nb", "`a b`")]
)
def test_a_code_span_holds_any_text(text: str, span: str) -> None:
    assert code_span(text) == span


def test_a_template_escapes_what_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        '{% from "tables.md.j2" import table -%}',
        "# {{ title }} {{ title | code }} {{ safe | safe }}",
        '{{ table(("a", "b", "c"), rows, text=(0, 2)) }}',
    )
    pages = {"own.md.j2": "\n".join(lines), "own.html.j2": "<p>{{ title }}</p>"}

    def loader(package: str) -> jinja2.BaseLoader:
        return jinja2.DictLoader(pages) if package == "own" else jinja2.FileSystemLoader("bench/report/templates")

    monkeypatch.setattr(jinja2, "PackageLoader", loader)
    page = render("own", "own.md.j2", title="a|*b*", safe="**bold**", rows=[("x", 1, "<y>"), ("|", "", "")])
    assert page.splitlines() == [
        r"# a\|\*b\* `a\|*b*` **bold**",
        "| a | b | c |",
        "|---|--:|---|",
        "| x | 1 | &lt;y> |",
        r"| \| |  |  |",
    ]
    assert render("own", "own.html.j2", title="<b>") == "<p>&lt;b&gt;</p>"


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="'view' is undefined"):
        render("bench.report.runs", "run.md.j2")
