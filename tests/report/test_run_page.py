"""`report.html` of one run in a browser: nothing leaves it, every chart is drawn, and it can be used by anyone."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from bench.analysis.compare import compare
from bench.analysis.metrics import METRICS
from bench.analysis.run import analyse
from bench.report import text
from bench.report.runs.run_reports import write_comparison_report, write_run_reports, write_sides
from bench.results.records import Outcome
from bench.results.run_reader import Run, open_run
from tests.support.browser import Watched, open_browser, opened, serious_faults
from tests.support.synthetic_runs import WORKLOAD, Requests, exponential, simulate, write_run

pytestmark = pytest.mark.long(60)

HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>'
CHARTS = {
    "percentiles",
    "latency-over-time",
    "heat-map",
    "throughput",
    "in-flight",
    "start-delay",
    "errors",
    "words",
    "client-cpu",
    "client-lag",
    "server-time",
    "time-by-second",
    "server-cpu",
}


def failing(requests: Requests) -> Requests:
    """One request of each kind of failure."""
    for index, outcome in enumerate((Outcome.WRONG_ANSWER, Outcome.TIMEOUT, Outcome.REJECTED)):
        requests.outcome[300 + index] = outcome
    return requests


def report(root: Path, requests: Requests, **manifest: Any) -> tuple[Run, Path]:
    run = write_run(root, requests, words=[3 + index % 40 for index in range(requests.due.size)], **manifest)
    list(write_run_reports([run]))
    return run, run.path / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def page_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    server = {"backend": HOSTILE}
    command = ("bertbench", "run", "--header", f"x={HOSTILE}")
    sentences = [f"{HOSTILE} {index}" for index in range(200)]
    workload = replace(WORKLOAD, model_name=HOSTILE, scenario=HOSTILE)
    requests = failing(simulate(workload=workload))
    return report(root, requests, workload=workload, server=server, command=command, sentences=sentences)[1]


@pytest.fixture(scope="module")
def other_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workload = replace(WORKLOAD, seed=3, duration=12.0)
    return report(tmp_path_factory.mktemp("other"), simulate(workload=workload), workload=workload, slug="other")[1]


@pytest.fixture
def watched(browser: Browser, page_path: Path) -> Iterator[Watched]:
    with opened(browser, page_path) as found:
        yield found
        assert not found.errors
        assert not found.requests


def canvas(page: Page, chart: str) -> str:
    """The picture of a chart."""
    return str(page.evaluate(f"document.querySelector('#chart-{chart} canvas').toDataURL()"))


def changed(page: Page, chart: str, before: str) -> None:
    """Waits until the picture of a chart is another."""
    other = f"before => document.querySelector('#chart-{chart} canvas').toDataURL() !== before"
    page.wait_for_function(other, arg=before)


def zooms(page: Page) -> dict[str, str]:
    """The visible range of each chart; "" for all of it."""
    found = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.chart')].map(f => [f.dataset.chart, f.dataset.zoom || '']))"
    )
    return dict(found)


@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_in_every_window(browser: Browser, page_path: Path, width: int, scheme: str) -> None:
    with opened(browser, page_path, width=width, scheme=scheme) as watched:
        page = watched.page
        drawn = page.evaluate("[...document.querySelectorAll('.chart[data-drawn]')].map(f => f.dataset.chart)")
        assert set(drawn) == CHARTS
        for chart in CHARTS:
            colors = page.evaluate(
                """name => {
                  const canvas = document.querySelector(`#chart-${name} canvas`);
                  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                  return new Set(new Uint32Array(data.buffer)).size;
                }""",
                chart,
            )
            # Text and lines with their smooth edges; an empty axis has far fewer.
            assert colors > 20, chart
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        assert not serious_faults(page)
        assert watched.errors == []
        assert watched.requests == []


def test_hostile_text_is_shown_and_not_run(watched: Watched) -> None:
    page = watched.page
    page.evaluate("document.querySelectorAll('details').forEach(entry => entry.open = true)")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    for section in (page.locator(".command"), page.get_by_role("region", name="The slowest requests")):
        assert "<img src=x onerror=" in section.inner_text()


def test_a_line_is_switched_off_and_on(watched: Watched) -> None:
    page = watched.page
    key = page.locator("#chart-latency-over-time .key", has_text="p99 from due")
    before = canvas(page, "latency-over-time")
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    changed(page, "latency-over-time", before)
    key.click()
    assert key.get_attribute("aria-pressed") == "true"


def test_a_zoom_holds_for_all_charts_over_time(watched: Watched) -> None:
    page = watched.page
    box = page.locator("#chart-throughput .u-over").bounding_box()
    page.locator("#chart-throughput .u-over").scroll_into_view_if_needed()
    box = page.locator("#chart-throughput .u-over").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=5)
    page.mouse.up()
    page.wait_for_function("document.querySelector('#chart-heat-map').dataset.zoom")
    ranges = zooms(page)
    timed = CHARTS - {"percentiles", "words"}
    assert len({ranges[name] for name in timed}) == 1
    low, high = map(float, ranges["throughput"].split())
    assert 4 < low < high < 12
    assert ranges["percentiles"] == ""
    page.get_by_role("button", name="Show all: Throughput over time").click()
    page.wait_for_function("!document.querySelector('#chart-heat-map').dataset.zoom")
    assert set(zooms(page).values()) == {""}


def test_the_pointer_reads_values_with_their_requests_and_intervals(watched: Watched) -> None:
    page = watched.page
    for chart, words in (
        ("latency-over-time", ("p50 from due", "n = ")),
        ("percentiles", ("from due (what a caller waits)",)),
        ("heat-map", ("due ", "n = ")),
    ):
        page.locator(f"#chart-{chart} .u-over").hover()
        text = page.locator(f"#chart-{chart} .tip").inner_text()
        assert all(word in text for word in words), text


def test_the_keyboard_reads_zooms_and_shows_all(watched: Watched) -> None:
    page = watched.page
    page.locator("#chart-percentiles .plot").focus()
    for _ in range(400):
        page.keyboard.press("ArrowRight")
        if page.locator("#chart-percentiles .tip").inner_text().startswith("95"):
            break
    text = page.locator("#chart-percentiles .tip").inner_text()
    assert "latency from due, p95: " in text
    assert " … " in text
    assert page.locator("#reader").inner_text()
    page.keyboard.press("+")
    page.wait_for_function("document.querySelector('#chart-percentiles').dataset.zoom")
    page.keyboard.press("0")
    page.wait_for_function("!document.querySelector('#chart-percentiles').dataset.zoom")


def test_every_chart_has_a_table(watched: Watched) -> None:
    page = watched.page
    for chart in CHARTS:
        page.locator(f"#chart-{chart} summary").click()
        table = page.locator(f"#chart-{chart} details table").last
        table.locator("tbody tr").nth(5).wait_for(state="attached")
        assert table.locator("thead th").count() > 1, chart


def test_the_theme_can_be_changed(watched: Watched) -> None:
    page = watched.page
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    before = canvas(page, "throughput")
    page.get_by_role("button", name="Show the dark theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.wait_for_function(
        "before => document.querySelector('#chart-throughput canvas').toDataURL() !== before", arg=before
    )


def drop(page: Page, name: str, text: str) -> None:
    """Drops a file onto the page."""
    page.evaluate(
        """([name, text]) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([text], name));
          for (const kind of ['dragenter', 'dragover', 'drop'])
            document.dispatchEvent(new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        [name, text],
    )


def test_another_report_is_dropped_onto_the_page(watched: Watched, page_path: Path, other_path: Path) -> None:
    page = watched.page
    before = canvas(page, "percentiles")
    drop(page, "report.html", other_path.read_text("utf-8"))
    page.wait_for_selector("#comparison h2")
    name = open_run(other_path.parent).name
    assert f"B: {name} is VALID" in page.locator("#comparison").inner_text()
    # The page's script writes figures as the rest of the page does, and compares as the command does.
    changes = compare([analyse(open_run(page_path.parent))], [analyse(open_run(other_path.parent))]).changes
    for change in changes:
        if change.metric.name in ("from_due_p50", "from_due_p95", "throughput", "error_share", "in_flight"):
            row = page.locator("#comparison tr", has_text=change.metric.title).first.locator("td").all_inner_texts()
            expected = [text.change(change.metric, change.change), text.change_interval(change.metric, change.change)]
            assert row[2:] == [*expected, change.verdict]
    for path in (page_path, other_path):
        for name in ("from_due_p50", "from_due_p95", "throughput", "error_share"):
            metric, found = METRICS[name], analyse(open_run(path.parent)).summary.metrics[name]
            shown = f"{text.metric_value(metric, found.center)} {text.interval(metric, found)}"
            assert shown in page.locator("#comparison tr", has_text=metric.title).first.inner_text()
    assert "arrivals" not in page.get_by_role("region", name="What differs").inner_text()
    assert page.locator("#chart-percentiles .key").count() == 4
    assert canvas(page, "percentiles") != before
    page.get_by_role("button", name="Remove the comparison").click()
    assert page.locator("#chart-percentiles .key").count() == 2
    assert page.locator("#comparison").is_hidden()


def test_a_summary_is_chosen_for_a_comparison(watched: Watched, other_path: Path) -> None:
    page = watched.page
    page.locator("#compare").set_input_files(other_path.with_name("summary.csv"))
    page.wait_for_selector("#comparison h2")
    assert "latency from due, p95" in page.locator("#comparison").inner_text()
    assert page.locator("#chart-percentiles .key").count() == 2


def test_an_invalid_run_on_the_page_is_no_verdict(watched: Watched, other_path: Path) -> None:
    page = watched.page
    drop(page, "summary.csv", other_path.with_name("summary.csv").read_text("utf-8").replace(",true,", ",false,"))
    page.wait_for_selector("#comparison h2")
    assert set(page.locator("#comparison tbody td:last-child").all_inner_texts()) == {"?"}
    assert "An INVALID run decides nothing" in page.locator("#comparison").inner_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html></html>", "it has no data of a report"),
        ('<script type="application/json" id="page-data">{"kind": "runs"}</script>', "not the report of one run"),
        ('<script type="application/json" id="page-data">{"kind": "run", "format": 9}</script>', "have format 9"),
        ("run,valid,part\n", "not a summary.csv"),
        ("x" * 5_000_001, "at most 5 MB"),
    ],
)
def test_another_file_is_refused_in_one_line(watched: Watched, text: str, message: str) -> None:
    drop(watched.page, "some.html", text)
    watched.page.wait_for_selector("#status:not(:empty)")
    line = watched.page.locator("#status").inner_text()
    assert line.startswith("some.html cannot be compared: ")
    assert message in line
    assert watched.page.locator("#comparison").is_hidden()


def test_a_printed_page_has_its_charts_in_light_colours(browser: Browser, page_path: Path) -> None:
    with opened(browser, page_path, scheme="dark") as watched:
        watched.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert watched.page.evaluate("document.documentElement.dataset.theme") == "light"
        watched.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
        assert watched.page.evaluate("document.documentElement.dataset.theme") == "dark"
        watched.page.emulate_media(media="print")
        assert watched.page.locator("nav").is_hidden()
        assert not watched.errors


def test_sides_are_drawn_together(browser: Browser, tmp_path: Path) -> None:
    sides = []
    for name, seed in (("a", 1), ("b", 5)):
        runs = []
        for repeat in range(2):
            workload = replace(WORKLOAD, seed=seed + repeat, duration=8.0)
            runs.append(write_run(tmp_path / name, simulate(workload=workload), workload=workload, group=name))
        sides.append([analyse(run) for run in runs])
    write_sides(sides, tmp_path / "out")
    for width in (390, 1600):
        with opened(browser, tmp_path / "out" / "report.html", width=width) as watched:
            page = watched.page
            assert page.locator(".chart[data-drawn]").count() == 3
            assert page.locator("#chart-percentiles .key").count() == 2
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert not serious_faults(page)
            assert watched.errors == []
            assert watched.requests == []


def test_the_runs_of_a_folder_are_sorted_and_linked(browser: Browser, tmp_path: Path) -> None:
    reports = []
    for name, mean in (("fast", 0.004), ("slow", 0.012), ("middle", 0.008)):
        workload = replace(WORKLOAD, duration=6.0)
        requests = simulate(workload=workload, service=exponential(mean))
        run = write_run(tmp_path, requests, workload=workload, slug=f"the {name}")
        reports += list(write_run_reports([run]))
    page_path = write_comparison_report(reports) / "report.html"
    with opened(browser, page_path) as watched:
        table = watched.page.get_by_role("region", name="Runs", exact=True)
        table.get_by_role("button", name="p50").click()
        names = [text.rpartition("-")[2] for text in table.locator("tbody th").all_inner_texts()]
        assert names == ["fast", "middle", "slow"]
        assert table.locator("th[aria-sort=ascending]").count() == 1
        table.get_by_role("button", name="p50").click()
        assert table.locator("tbody th").first.inner_text().endswith("slow")
        table.get_by_role("link", name="the-slow").click()
        assert watched.page.locator("h1").inner_text().endswith("slow")
        assert watched.errors == []


def test_odd_runs_have_pages_too(browser: Browser, tmp_path: Path) -> None:
    """Without a request, without a success, without an answer, with one request, and unfinished."""
    whole = simulate(workload=replace(WORKLOAD, duration=6.0))
    none, one = slice(0, 0), slice(150, 151)
    lost = replace(whole, outcome=[Outcome.UNAVAILABLE] * whole.due.size)
    never = np.full(whole.due.size, np.nan)
    dropped = replace(whole, sent=never, done=never, outcome=[Outcome.DROPPED] * whole.due.size)
    few = [Requests(whole.due[cut], whole.sent[cut], whole.done[cut], whole.outcome[cut], 0) for cut in (none, one)]
    loop = "closed:users=1"
    runs = [
        write_run(tmp_path, few[0], loop, slug="none"),
        write_run(tmp_path, few[1], loop, slug="one"),
        write_run(tmp_path, lost, slug="lost"),
        write_run(tmp_path, dropped, slug="dropped"),
        write_run(tmp_path, whole, slug="unfinished", finish=False),
    ]
    reports = list(write_run_reports(runs))
    pages = [report.folder / "report.html" for report in reports]
    for path in (*pages, write_comparison_report(reports) / "report.html"):
        with opened(browser, path) as watched:
            page = watched.page
            assert page.locator(".chart:not([data-drawn])").count() == 0
            assert "INVALID" in page.locator("#summary").inner_text()
            assert (watched.errors, watched.requests) == ([], [])
    assert "p50 needs 6 requests, the run has 1" in pages[1].read_text("utf-8")
    assert "no request was due" in pages[0].read_text("utf-8")
