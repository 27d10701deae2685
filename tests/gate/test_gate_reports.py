from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import orjson
import pytest

from bench.gate.early_verdicts import failure_verdict
from bench.gate.report.files import gate_json, gate_junit
from bench.gate.report.html_page import gate_html
from bench.gate.report.text import gate_markdown, gate_table, verdict_line
from bench.gate.types import (
    METRICS,
    Failure,
    GateReport,
    MetricResult,
    State,
    Verdict,
    VerdictKind,
    default_plan,
)
from bench.gate.verdicts import format_effect, format_min_effect
from bench.stats.estimate import Estimate
from tests.support.browser import open_browser, opened, serious_faults
from tests.support.gate_noise import pairs, run_gate, slower

PLAN = default_plan()


def report(effects: dict[str, float] | None = None, limit: int = 60, sd: float = 0.01) -> GateReport:
    verdict, _ = run_gate(PLAN, pairs("plain", np.random.default_rng(1), limit, sd, effects), limit)
    return GateReport(verdict, "models/main", "models/change", "grpc, closed:users=1", 125.4, None)


def test_the_line_says_what_by_how_much_and_how_sure() -> None:
    line = verdict_line(report(slower(0.2)))
    assert "\n" not in line
    assert line.startswith("REGRESSION: latency p50 +")
    assert "pairs in 2 m 05 s" in line
    assert "false alarms at most 0.5 % by design, not measured here yet" in line
    known = replace(report(), measured="0 of 20 gates")
    assert verdict_line(known).endswith("false alarms at most 0.5 %, measured: 0 of 20 gates")


def test_stored_runs_that_were_not_compared_have_no_number_a_side() -> None:
    live = report(slower(0.2))
    stored = replace(live, load="", verdict=replace(live.verdict, runs=(6, 6)))
    assert "; 6 runs a side; false alarms" in verdict_line(stored)
    none = replace(stored, verdict=replace(stored.verdict, pairs=0, runs=(0, 0)))
    assert "a side" not in verdict_line(none)
    assert "a side" not in gate_html(none)


@pytest.mark.parametrize(
    ("name", "min_effect", "change", "text", "smallest"),
    [
        ("p50", 0.05, 0.1034, "+10.3 %", "5 %"),
        ("p50", 0.0125, 0.0083, "+0.83 %", "1.25 %"),
        ("errors", 0.005, 0.0031, "+0.31 points", "0.5 points"),
        # Two in a hundred thousand: what is larger is not shown as 0.
        ("errors", 0.00002, 0.00003, "+0.0030 points", "0.002 points"),
        ("memory", 0.0005, -0.0004, "-0.040 %", "0.05 %"),
    ],
)
def test_changes_and_the_smallest_effect_are_shown_alike_everywhere(
    name: str, min_effect: float, change: float, text: str, smallest: str
) -> None:
    metric = next(metric for metric in METRICS if metric.name == name)
    effect = Estimate(name, change, change, change, 0.95, 7)
    result = MetricResult(metric, 1.0, 1.0 + change, effect, min_effect, State.REGRESSION)
    assert (format_effect(result, change), format_min_effect(result)) == (text, smallest)
    found = GateReport(Verdict(VerdictKind.REGRESSION, "slow", (result,), 7), "a", "b", "", 0.0)
    for shown in (gate_table(found), gate_html(found), gate_markdown(found), gate_junit(found).decode()):
        assert text in shown
        assert smallest in shown


def test_throughput_is_shown_as_the_change_of_the_figure() -> None:
    """Worse by 25 % is a throughput that fell by 20 %."""
    table = gate_table(report({"throughput": 0.25}))
    row = next(line for line in table.splitlines() if line.startswith("throughput"))
    change = float(row.split("%")[0].split()[-1])
    assert change == pytest.approx(-20, abs=1.0)


def test_markdown_has_a_row_a_metric_and_the_counts() -> None:
    text = gate_markdown(report(slower(0.2)))
    assert text.startswith("## ❌ Gate: REGRESSION\n")
    assert all(f"| {metric.label} |" in text for metric in PLAN.metrics)
    assert "| wrong answers | 0 | 0 |" in text
    assert gate_markdown(report()).startswith("## ✅ Gate: PASS\n")
    assert "⚠️" in gate_markdown(report(limit=3))


def test_markdown_survives_what_servers_say() -> None:
    found = report()
    warned = replace(found, verdict=replace(found.verdict, warnings=("candidate: <b>a|b</b>",)))
    assert "&lt;b>a\\|b&lt;/b>" in gate_markdown(warned)


def test_json_holds_the_whole_verdict() -> None:
    body = orjson.loads(gate_json(report(slower(0.2))))
    assert (body["format"], body["verdict"], body["exit_code"]) == (2, "REGRESSION", 1)
    p50 = next(entry for entry in body["metrics"] if entry["name"] == "p50")
    assert p50["worse_by"] == pytest.approx(0.2, abs=0.03)
    assert p50["interval"][0] < p50["worse_by"] < p50["interval"][1]
    assert p50["state"] == "regression"
    assert body["counts"]["requests"]["candidate"] > 0
    assert body["false_alarms"]["bound"] == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("found", "failures", "errors"),
    [(report(slower(0.2)), True, False), (report(), False, False), (report(limit=3), False, True)],
    ids=["regression", "pass", "inconclusive"],
)
def test_junit_counts_what_ci_counts(found: GateReport, failures: bool, errors: bool) -> None:
    suite = ElementTree.fromstring(gate_junit(found)).find("testsuite")
    assert suite is not None
    assert int(suite.get("tests", "0")) == 2 + len(PLAN.metrics)
    assert (int(suite.get("failures", "0")) > 0) == failures
    assert (int(suite.get("errors", "0")) > 0) == errors
    whole = suite.find("testcase[@name='verdict']")
    assert whole is not None
    assert (whole.find("failure") is not None) == (found.verdict.kind is VerdictKind.REGRESSION)


@pytest.mark.parametrize("ran", [True, False])
def test_a_failed_side_is_in_every_file(ran: bool) -> None:
    """A server's last words may hold anything."""
    failure = Failure("the candidate ended: \x1b[31mSegmentation <fault>\x00 | \ufffe", ran=ran)
    found = GateReport(failure_verdict(PLAN, {"candidate": failure}), "a", "b", "grpc", 12.0)
    kind = VerdictKind.REGRESSION if ran else VerdictKind.TARGET_FAILED
    assert verdict_line(found).startswith(f"{kind}: the candidate ended: ")
    assert "false alarms" not in verdict_line(found)
    assert f"Gate: {kind}\n" in gate_markdown(found)
    body = orjson.loads(gate_json(found))
    assert (body["verdict"], body["reason"], body["exit_code"]) == (kind, failure.why, 1 if ran else 4)
    whole = ElementTree.fromstring(gate_junit(found)).find(".//testcase[@name='verdict']")
    assert whole is not None
    problem = whole.find("failure" if ran else "error")
    assert problem is not None
    assert "Segmentation <fault>" in problem.get("message", "")


@pytest.mark.parametrize(
    ("effects", "limit", "word", "figure"),
    [
        (slower(0.2), 60, "REGRESSION: latency p50 +", "latency p50: regression"),
        (None, 60, "PASS: ", "latency p50: passed"),
        (None, 3, "INCONCLUSIVE: ", "Answers of the candidate"),
    ],
)
def test_the_page_begins_with_the_verdict(
    tmp_path: Path, effects: dict[str, float] | None, limit: int, word: str, figure: str
) -> None:
    found = replace(report(effects, limit), candidate="<b>change</b>")
    path = tmp_path / "gate.html"
    path.write_text(gate_html(found), encoding="utf-8")
    with open_browser() as browser, opened(browser, path, width=390) as watched:
        page = watched.page
        assert page.locator(".verdict").first.inner_text().startswith(word)
        assert figure in page.locator(".figures").inner_text()
        assert "all right" in page.locator(".figures").inner_text()
        assert page.locator("h1").inner_text() == "Gate: <b>change</b> against models/main"
        rows = page.get_by_role("region", name="Every metric").locator("tbody tr")
        assert rows.count() == len(found.verdict.metrics)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not serious_faults(page)
        assert (watched.errors, watched.requests) == ([], [])
