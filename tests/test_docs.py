"""The pages of docs/: their links lead somewhere and their prose keeps to the width."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from bench.cli import COMMANDS
from bench.config.names import known_names

ROOT = Path(__file__).parents[1]
WIDTH = 120
NARROW = ("README.md", "CONTRIBUTING.md", "docs/")


def pages() -> list[str]:
    """Every Markdown file of the tree that git knows, or of docs/ and the root where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = listed.stdout.split("\0") if listed.returncode == 0 else []
    names = [name for name in found if name and (ROOT / name).is_file()]
    return names or [str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]]


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The fragments of a page's headings, by GitHub's rule."""
    headings = re.findall(r"^#+ +(.*)$", without_fences(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages())
def test_relative_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", without_fences(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, fragment = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.is_relative_to(ROOT), f"{page}: {link} leads out of the tree"
        assert target.exists(), f"{page}: {link}"
        if fragment:
            assert fragment in anchors(target), f"{page}: {link} names no heading"


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith(NARROW)])
def test_prose_keeps_to_the_width(page: str) -> None:
    lines = without_fences((ROOT / page).read_text(encoding="utf-8")).splitlines()
    assert not [line for line in lines if len(line) > WIDTH and not line.lstrip().startswith("|")]


def messages() -> list[str]:
    """The messages of the page on troubleshooting: the code spans of each table row's first cell."""
    rows = re.findall(
        r"^\| (`.*?) \|", (ROOT / "docs/guide/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("message", messages())
def test_troubleshooting_quotes_what_is_said(message: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in [*(ROOT / "bench").rglob("*.py"), ROOT / "Makefile"]]
    # Literals that stand under one another are one text.
    assert message in re.sub(r'"\s*\n\s*f?"', "", "\n".join(sources))


def test_the_page_on_installing_has_every_extra_of_users() -> None:
    page = (ROOT / "docs/guide/install.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # Of developers, and of the build of the images.
    extras = set(project["optional-dependencies"]) - {"dev", "image"}
    assert set(re.findall(r"^\| `bertbench\[(\w+)\]` \|", page, re.MULTILINE)) == extras


def test_pages_and_messages_name_the_otava_that_is_locked() -> None:
    (locked,) = re.findall(r"^(apache-otava==\S+)", (ROOT / "requirements/otava.txt").read_text(), re.MULTILINE)
    for file in ("docs/guide/install.md", "bench/gate/history.py"):
        named = re.findall(r"apache-otava==[\d.]*\d", (ROOT / file).read_text(encoding="utf-8"))
        assert set(named) == {locked}, file


@pytest.mark.parametrize("page", [page for page in pages() if page.startswith(("README.md", "docs/"))])
def test_who_names_the_codes_of_signals_names_that_of_each(page: str) -> None:
    # Paragraphs, and the rows of tables.
    for text in re.split(r"\n\n|\n(?=\|)", (ROOT / page).read_text(encoding="utf-8")):
        named = {code for code in ("129", "130", "143") if re.search(rf"(?<![\d.,]){code}(?![\d.,]*\d)", text)}
        assert not {"130", "143"} <= named or "129" in named, text


@pytest.mark.parametrize("option", ["grpc-host", "server-cgroup"])
def test_an_option_of_some_commands_stands_with_their_names(option: str) -> None:
    """The page begins with the commands that take the same options."""
    page = (ROOT / "docs/guide/reaching-a-server.md").read_text(encoding="utf-8")
    (paragraph,) = [text for text in page.split("\n\n") if f"--{option}" in text]
    owners = {words.partition(" ")[0] for words in known_names().commands_with(option)}
    assert {name for name in COMMANDS if f"`{name}`" in paragraph} == owners
    assert ("Locust" in paragraph) == (option in known_names().scenarios)


def fault_rows() -> list[str]:
    """The rows of the page on faults, without the heads of its tables."""
    lines = (ROOT / "docs/reference/faults.md").read_text(encoding="utf-8").splitlines()
    return [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("| ") and not after.startswith("|---")
    ]


@pytest.mark.parametrize("row", fault_rows(), ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_fault_has_tests_that_exist(row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row.split("|")[-2])
    assert named
    for file, name in named:
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
