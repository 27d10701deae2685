"""The content of a run's page without a browser: its sentences, and every figure the one of the summary."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape

from bench.analysis.compare import Change
from bench.analysis.metrics import METRICS
from bench.analysis.run import Analysis, analyse
from bench.objectives.grammar import parse_objectives
from bench.report.glossary import TERMS, explained
from bench.report.runs.change_rows import change_bar
from bench.report.runs.first_screen import first_screen
from bench.report.runs.run_reports import write_run_reports, write_sides
from bench.report.runs.sides import named_sides, objective_rows
from bench.results.records import Outcome
from bench.stats.estimate import Estimate
from tests.support.synthetic_runs import WORKLOAD, Requests, exponential, settling_run, simulate, write_run

_PLACES = ("data-side", "data-run", "data-protocol")


class Figures(HTMLParser):
    """The `<data>` elements of a page: side, run or protocol, metric, number, text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, float, str]] = []
        self._place = ""
        self._open: tuple[str, str, float] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._place = next((found for name, found in attrs if name in _PLACES), self._place) or ""
        if tag == "data":
            self._open = (self._place, values["data-metric"], float(values["value"]))

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._place = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found.append((*self._open, data))
            self._open = None


def figures(page: Path) -> list[tuple[str, str, float, str]]:
    parser = Figures()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


def page_data(page: Path) -> dict[str, object]:
    text = re.search(
        r'<script type="application/json" id="page-data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL
    )
    found = json.loads(text[1])
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    requests = simulate()
    requests.outcome[300] = Outcome.WRONG_ANSWER
    run = write_run(tmp_path_factory.mktemp("screen"), requests)
    list(write_run_reports([run]))
    return analyse(run)


def test_every_figure_on_the_page_is_that_of_the_summary(analysis: Analysis) -> None:
    found = figures(analysis.run.path / "report.html")
    known = {name for name, entry in analysis.summary.metrics.items() if entry.center is not None}
    assert {metric for _, metric, _, _ in found} == known
    # Those of the first screen stand there twice.
    assert len(found) > len(known) + 5
    for _, metric, number, _ in found:
        assert number == analysis.summary.metrics[metric].center


def test_the_data_of_the_page_are_those_of_the_summary(analysis: Analysis) -> None:
    data = page_data(analysis.run.path / "report.html")
    for name, entry in data["metrics"].items():  # type: ignore[attr-defined]
        estimate = analysis.summary.metrics[name]
        assert (entry["center"], entry["lo"], entry["hi"]) == (estimate.center, estimate.lo, estimate.hi)
    marks = {mark["label"]: mark for mark in data["charts"][0]["marks"]}  # type: ignore[index]
    p95 = analysis.summary.metrics["from_due_p95"]
    assert marks["latency from due, p95"]["center"] == pytest.approx(p95.center, rel=1e-5)
    assert marks["latency from due, p95"]["hi"] == pytest.approx(p95.hi, rel=1e-5)


def test_the_page_of_a_found_warm_up_has_the_part_that_was_measured(tmp_path: Path) -> None:
    run = settling_run(tmp_path, replace(WORKLOAD, duration=30.0, warmup=3.0))
    (report,) = write_run_reports([run])
    data = page_data(run.path / "report.html")
    assert run.begins > 10
    assert (data["begins"], data["ends"]) == (run.begins, 33.0)
    assert (report.curves.begins, report.curves.ends) == (run.begins, 33.0)
    (duration,) = (value for name, value in report.view.workload if name == "duration")
    assert duration == ("22.9 s after 10.1 s of warm-up that was found in the run; planned: 30 s after 3 s of warm-up")


def test_sides_have_the_figures_of_their_runs(tmp_path: Path) -> None:
    sides = []
    for name, mean in (("a", 0.01), ("b", 0.007)):
        workload = replace(WORKLOAD, duration=8.0)
        requests = simulate(workload=workload, service=exponential(mean))
        sides.append([analyse(write_run(tmp_path, requests, workload=workload, slug=name))])
    write_sides(sides, tmp_path / "out")
    by_place = {"A": sides[0][0], "B": sides[1][0]} | {entry.run.name: entry for (entry,) in sides}
    found = figures(tmp_path / "out" / "report.html")
    assert {place for place, _, _, _ in found} == by_place.keys()
    for place, metric, number, _ in found:
        assert number == by_place[place].summary.metrics[metric].center


def wrong(requests: Requests) -> None:
    requests.outcome[300:303] = [Outcome.WRONG_ANSWER] * 3


def lost(requests: Requests) -> None:
    requests.outcome[300:304] = [Outcome.TIMEOUT, Outcome.TIMEOUT, Outcome.TIMEOUT, Outcome.REJECTED]


def late(requests: Requests) -> None:
    requests.sent += 0.03
    requests.done += 0.03


def test_a_percentile_says_what_failed_requests_mean_for_it(tmp_path: Path) -> None:
    requests = simulate(workload=WORKLOAD)
    requests.outcome[300:330] = [Outcome.TIMEOUT] * 30
    (latency,) = [
        entry for entry in first_screen(analyse(write_run(tmp_path, requests))).figures if "p99" in entry.title
    ]
    assert latency.state == "bad"
    assert latency.notes[0] == (
        "30 failed requests left out; with them, fewer than 99 % of all had a right answer at any latency"
    )


def test_failures_that_leave_a_percentile_are_no_alarm(tmp_path: Path) -> None:
    """45 of 50 are 90 %, not fewer."""
    due = 3.0 + 0.05 * np.arange(50)
    requests = Requests(due, due + 0.001, due + 0.01, [Outcome.OK] * 45 + [Outcome.TIMEOUT] * 5, 0)
    (latency,) = [
        entry for entry in first_screen(analyse(write_run(tmp_path, requests))).figures if "p90" in entry.title
    ]
    assert latency.state == ""
    assert latency.notes[0] == "5 failed requests left out"


@pytest.mark.parametrize(
    ("change", "valid", "alarm", "answers", "limit"),
    [
        (None, True, "", "all right", "offered load"),
        (wrong, True, "3 of 1,007 checked answers were wrong (3 drift).", "3 wrong", "offered load"),
        (lost, True, "4 of 1,007 requests got no answer (3 timeout, 1 rejected).", "all right", "unknown"),
        (late, False, "", "all right", "load generator"),
    ],
)
def test_the_first_screen_answers_the_questions(
    tmp_path: Path, change: object, valid: bool, alarm: str, answers: str, limit: str
) -> None:
    requests = simulate(workload=WORKLOAD)
    if callable(change):
        change(requests)
    analysis = analyse(write_run(tmp_path, requests))
    screen = first_screen(analysis)
    assert (screen.word, screen.state) == (("VALID", "good") if valid else ("INVALID", "bad"))
    assert list(screen.reasons) == list(analysis.validity.reasons)
    due = f"{analysis.summary.due:,}"
    assert (alarm.replace("1,007", due) in screen.alarms) == bool(alarm)
    by_title = {figure.title: figure for figure in screen.figures}
    assert by_title["Answers"].value == answers
    assert by_title["What limits it"].value == limit
    latency = by_title["Latency from due, p99"].shown
    assert [value.metric for value in latency] == ["from_due_p99", "from_due_p95", "from_due_p50"]
    assert latency[0].number == analysis.summary.metrics["from_due_p99"].center


def test_a_short_run_says_how_many_requests_a_percentile_needs(tmp_path: Path) -> None:
    workload = replace(WORKLOAD, duration=4.0)
    screen = first_screen(analyse(write_run(tmp_path, simulate(workload=workload), workload=workload)))
    assert screen.figures[1].title == "Latency from due, p95"
    assert any(
        re.match(r"No p99 is given: p99 needs 368 requests, the run has \d+\.", line) for line in screen.sentences
    )


def test_a_run_without_a_success_shows_no_zero(tmp_path: Path) -> None:
    requests = simulate()
    requests.outcome = [Outcome.UNAVAILABLE] * requests.due.size
    screen = first_screen(analyse(write_run(tmp_path, requests)))
    assert screen.figures[1].value == "—"
    assert screen.figures[0].value == "not checked"
    assert screen.figures[3].value == "unknown"


@pytest.mark.parametrize(
    ("slo", "met"),
    [("p95<=900ms", True), ("p95<=1ms", False), ("p99<=70ms", None), ("wrong=0", False), ("errors<=0.001%", False)],
)
def test_objectives_stand_on_the_first_screen(tmp_path: Path, slo: str, met: bool | None) -> None:
    requests = simulate()
    requests.outcome[300] = Outcome.WRONG_ANSWER
    run = write_run(tmp_path, requests, objectives=parse_objectives(slo))
    (found,) = first_screen(analyse(run)).objectives
    assert found.met is met
    assert found.text.startswith(f"{slo}: ")
    (report,) = write_run_reports([run])
    page = (report.folder / "report.html").read_text("utf-8")
    word, style = {True: ("PASS", "good"), False: ("FAIL", "bad"), None: ("CANNOT TELL", "open")}[met]
    remark = f' <span class="note">{escape(found.remark)}</span>' if found.remark else ""
    assert f'<li class="{style}"><strong>{word}</strong> {escape(found.text)}{remark}</li>' in page


def test_a_page_stays_small_whatever_the_number_of_requests(tmp_path: Path) -> None:
    """Twenty minutes, 60,000 requests: the charts have as many points as those of a million."""
    workload = replace(WORKLOAD, duration=1200.0)
    requests = simulate(workload=workload, service=exponential(0.005))
    assert requests.due.size > 50_000
    run = write_run(tmp_path, requests, workload=workload, words=np.arange(requests.due.size).tolist())
    list(write_run_reports([run]))
    assert (run.path / "report.html").stat().st_size < 1_500_000


def test_objectives_of_sides_stand_side_by_side(tmp_path: Path) -> None:
    """With the verdict and the figure of each; a side without an objective has a dash."""
    fast, slow = parse_objectives("p50<=20ms,wrong=0"), parse_objectives("p50<=20ms")
    sides = []
    for name, mean, given in (("a", 0.002, fast), ("b", 0.05, slow)):
        run = write_run(tmp_path / name, simulate(service=exponential(mean), servers=9), objectives=given)
        sides.append([analyse(run)])
    rows = dict(objective_rows(named_sides(sides)))
    assert list(rows) == ["p50<=20ms", "wrong=0"]
    assert [(cell.verdict, cell.met) for cell in rows["p50<=20ms"]] == [("PASS", True), ("FAIL", False)]
    assert rows["wrong=0"][1] is None
    write_sides(sides, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert f'<span class="better">PASS</span><br><span class="interval">{rows["p50<=20ms"][0].text}</span>' in page
    (two,) = named_sides([[*sides[0], *sides[1]]])
    assert objective_rows([two])[0][1][0].verdict == "1 PASS, 1 FAIL"


def test_a_bar_says_where_its_interval_goes_on() -> None:
    def bar(lo: float | None, hi: float | None, widest: float = 0.5) -> tuple[tuple[float, float] | None, str]:
        estimate = Estimate("from_due_p50", 1.1, lo, hi, 0.95, 100.0)
        return change_bar(Change(METRICS["from_due_p50"], estimate, estimate, estimate), widest)[1:]

    assert bar(0.75, 1.5) == ((25.0, 75.0), "")
    assert bar(0.75, None) == ((25.0, 75.0), "high")
    assert bar(0.25, 1.9) == ((0.0, 100.0), "low high")
    assert bar(None, None) == (None, "")


def test_terms_are_explained_where_they_stand_first_and_listed(analysis: Analysis) -> None:
    page = (analysis.run.path / "report.html").read_text("utf-8")
    (alarm,) = [line for line in page.splitlines() if "checked answers" in line]
    assert f'(1 <abbr title="{escape(TERMS["drift"])}">drift</abbr>)' in alarm
    listed = page[page.index('<section id="terms">') :]
    for term in ("drift", "Estimator", "from due", "effective n", "offered load"):
        assert f"<dt>{term}</dt><dd>{escape(TERMS[term])}</dd>" in listed
    assert "<dt>swap</dt>" not in listed
    assert explained("<b> & from due, from due") == (
        f'&lt;b&gt; &amp; <abbr title="{TERMS["from due"]}">from due</abbr>, from due'
    )


@pytest.mark.parametrize(
    ("later", "sentences"),
    [
        (
            0,
            [
                "20 of 100 checked answers in the warm-up were wrong.",
                "Every answer that was checked after it is right: ",
            ],
        ),
        (3, ["20 of 100 checked answers in the warm-up were wrong.", "3 of "]),
    ],
)
def test_wrong_answers_in_the_warm_up_are_wrong_answers(tmp_path: Path, later: int, sentences: list[str]) -> None:
    requests = simulate()
    requests.outcome[:20] = [Outcome.WRONG_ANSWER] * 20
    requests.outcome[500 : 500 + later] = [Outcome.WRONG_ANSWER] * later
    assert requests.warmup == 100
    screen = first_screen(analyse(write_run(tmp_path, requests)))
    assert all(shown.startswith(meant) for shown, meant in zip(screen.alarms, sentences, strict=False))
    assert len(screen.alarms) >= 2
    assert (screen.figures[0].value, screen.figures[0].notes[-1]) == (f"{20 + later} wrong", "20 wrong in the warm-up")
