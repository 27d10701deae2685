"""A report shows what failed requests said, whatever a server put into it."""

from pathlib import Path

from markupsafe import escape

from bench.report.pages import escape_markdown
from bench.report.runs.run_reports import write_run_reports
from bench.results.failures import FailureText
from bench.results.records import Outcome
from tests.support.synthetic_runs import simulate, write_run

SAID = "HTTP 400: <b>no</b> | such [model](http://x)"


def test_what_failed_requests_said_is_in_the_report(tmp_path: Path) -> None:
    failures = (FailureText(Outcome.REJECTED, SAID, 12), FailureText(Outcome.REJECTED, "", 3))
    run = write_run(tmp_path / "runs", simulate(), failures=failures)
    without = write_run(tmp_path / "good", simulate())
    list(write_run_reports([run, without]))
    markdown, page = ((run.path / name).read_text("utf-8") for name in ("report.md", "report.html"))
    assert f"| rejected | 12 | {escape_markdown(SAID)} |" in markdown
    assert "| rejected | 3 | others, each with another text |" in markdown
    assert f'<td class="remark">{escape(SAID)}</td>' in page
    assert "failed requests said" not in (without.path / "report.html").read_text("utf-8")
