"""The script of the tab in a page that stays open for a long run; the answers are made here."""

import json
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
from playwright.sync_api import Route

from bench.load.live.live_figures import LiveFigures, LivePlan
from bench.load.locust_adapter import web_tab
from bench.load.locust_adapter.web_tab import TabState
from bench.results.blocks import ROW
from bench.results.samples import ClientSample
from tests.support.browser import open_browser

STEP, KEPT, LOOKS = 10, 30, 6
PAGE = """<script>window.bertbench = {}</script><script type="module" src="./bertbench/tab.js"></script>
<div class="MuiContainer-root">
<div role="tablist"><button role="tab" aria-selected="true">bertbench</button></div>
</div>
"""


def states() -> Iterator[bytes]:
    """What the page gets: ten more seconds of a run each time, each with one request."""
    figures = LiveFigures(LivePlan(0.0, 1000.0), [0])
    for time in range(STEP, 1000, STEP):
        rows = np.zeros(STEP, ROW)
        rows["due"] = rows["sent"] = np.arange(time - STEP, time) + 0.2
        rows["done"] = rows["due"] + 0.01
        figures.add_block(rows)
        figures.add_sample(ClientSample(time=float(time), worker=0))
        state = TabState(target="x", run="r", snapshot=figures.snapshot(STEP), outcome=(), report=False)
        yield msgspec.json.encode(state)


def test_an_open_page_draws_the_newest_seconds_only() -> None:
    answers, asked = states(), []

    def answer(route: Route) -> None:
        parts = urlsplit(route.request.url)
        if parts.path == "/bertbench/tab.js":
            route.fulfill(path=web_tab._WEB / "tab.js", content_type="text/javascript")
        elif parts.path == "/bertbench/figures":
            asked.append(int(parse_qs(parts.query)["after"][0]))
            route.fulfill(body=next(answers), content_type="application/json")
        else:
            given = {"emptyHost": "", "tab": "bertbench", "keptSeconds": KEPT}
            route.fulfill(body=PAGE.replace("{}", json.dumps(given)), content_type="text/html")

    with open_browser() as browser:
        page = browser.new_page()
        page.route("**/*", answer)
        page.goto("http://tab.invalid/")
        page.get_by_text(f"{LOOKS * STEP} s of 1000 s").wait_for()
        points = page.locator("polyline").first.get_attribute("points")
    assert asked[:LOOKS] == [0, *(look * STEP - 1 for look in range(1, LOOKS))]
    assert points is not None
    assert len(points.split()) == KEPT
