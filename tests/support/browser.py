"""Headless Chromium on pages that lie on the disk, with everything that such a page must not do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.support.debian import installed


def chromium() -> str:
    """The path of Chromium."""
    return installed("chromium", others=("chromium-browser", "google-chrome"))


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Headless Chromium."""
    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page and what it did wrong.

    Args:
        page: the page.
        requests: addresses that it asked for, its own left out.
        errors: exceptions, and lines of its console of the level of an error or a warning.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, path: Path, *, width: int = 1280, scheme: str = "light") -> Iterator[Watched]:
    """A file in a window of `width` by 900 pixels, with the colour scheme `light` or `dark`."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    watched = Watched(context.new_page())
    page, own = watched.page, path.resolve().as_uri()

    def requested(request: Request) -> None:
        if request.url != own:
            watched.requests.append(request.url)

    def said(line: ConsoleMessage) -> None:
        if line.type in ("error", "warning"):
            watched.errors.append(line.text)

    page.on("request", requested)
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    page.on("console", said)
    page.goto(own)
    yield watched
    context.close()


def serious_faults(page: Page) -> list[str]:
    """What axe-core finds that keeps people from using a page: the rule and the element."""
    found = Axe().run(page).response["violations"]
    serious = [entry for entry in found if entry["impact"] in ("serious", "critical")]
    return [f"{entry['id']}: {entry['nodes'][0]['html']}" for entry in serious]
