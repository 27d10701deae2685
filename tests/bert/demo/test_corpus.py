"""The demo's corpus, from small stand-ins of the packages."""

import shutil
import sys
from pathlib import Path

import pytest

from bench.bert.demo import corpus as corpus_module
from bench.bert.demo.corpus import Corpus, add_definitions, build, fetch, read_corpus
from bench.bert.demo.sources import SOURCES
from bench.core.errors import TargetError, UsageError

PAGE = """<page xmlns="http://projectmallard.org/1.0/"><info><desc>Not this one here.</desc></info>
<title>Not this either, it is a title.</title><p>Press <key>Ctrl</key> and hold it for a while.</p></page>"""


def write(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, Path]:
    roots = {source.package: tmp_path / source.package for source in SOURCES}
    for part, gloss in {
        "adj": 'lively; "a lively tune at the party"; "old words of a poet"- A. Poet',
        "adv": 'in a hurry; "she ran quickly down the hill"',
        "noun": "without an example",
        "verb": 'move; "she ran quickly down the hill!"',
    }.items():
        write(roots["wordnet-base"], f"usr/share/wordnet/data.{part}", f"00001 | {gloss}  \n".encode())
    ship = (
        'mission "x"\n\tdescription `You land on the moon. There is <planet> somewhere here.`\n'
        '\tname "not prose here"\n'
    )
    write(roots["endless-sky-data"], "usr/share/games/endless-sky/data/a.txt", ship.encode())
    write(roots["gnome-user-docs"], "usr/share/help/C/gnome-help/a.page", PAGE.encode())
    return roots


def test_the_prose_of_every_package_is_found_and_nothing_else(packages: dict[str, Path]) -> None:
    corpus = read_corpus(packages)
    assert sorted(corpus.train + corpus.held_out) == [
        "Press Ctrl and hold it for a while.",
        "You land on the moon.",
        "a lively tune at the party",
        "she ran quickly down the hill",
    ]


def test_nothing_is_both_trained_on_and_held_out_and_two_percent_are() -> None:
    corpus = Corpus()
    for number in range(5000):
        corpus.add(SOURCES[0], f"there were {number} boats in the bay")
    assert 0.014 < len(corpus.held_out) / 5000 < 0.026
    assert not set(corpus.held_out) & set(corpus.train)
    assert corpus.quotable == corpus.held_out


def test_only_quotable_sources_are_quoted() -> None:
    corpus = Corpus()
    closed = next(source for source in SOURCES if not source.quotable)
    for number in range(500):
        corpus.add(closed, f"there were {number} boats in the bay")
    assert corpus.held_out
    assert not corpus.quotable


def test_some_paragraphs_stay_whole_but_for_what_is_held_out() -> None:
    corpus = Corpus()
    for number in range(400):
        corpus.add(SOURCES[0], f"We saw {number} boats in the bay. Only {number} of them came back to us.")
    whole = [text for text in corpus.train if "Only" in text and "boats" in text]
    assert 60 < len(whole) < 140
    assert not any(held in text for held in corpus.held_out for text in corpus.train)


def test_definitions_of_common_words_are_added_and_never_held_out() -> None:
    corpus = Corpus(train=["a big red boat in the bay of a town"] * 10)
    add_definitions(
        corpus,
        [
            "a big red boat in the bay",
            "a big red zyzzyva in the bay",
            "a big mauve zyzzyva in the bay",
            "a red boat in bay",
            "a big red boat, in the bay",
        ],
    )
    assert corpus.train[10:] == ["a big red boat in the bay", "a big red zyzzyva in the bay"]
    assert not corpus.held_out


def test_build_writes_all_files(
    packages: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fake_fetch(package: str, folder: Path) -> dict[str, str]:
        shutil.copytree(packages[package], folder / package)
        return {"package": package, "version": "1", "sha256": "0"}

    monkeypatch.setattr(corpus_module, "fetch", fake_fetch)
    build(tmp_path / "out", sys.stderr)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "frequencies.tsv",
        "held-out-quotable.txt",
        "held-out.txt",
        "sources.json",
        "train.txt",
    ]
    told = capsys.readouterr().err
    assert "train.txt: " in told
    assert "endless-sky-data is not the one that the shipped checkpoint was trained on" in told


def test_without_debian_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no apt-get here"):
        fetch("wordnet-base", tmp_path / "scratch")


def test_a_package_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("apt-get", "dpkg-deb"):
        script = tmp_path / program
        script.write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(TargetError, match="apt-get download wordnet-base failed: E: Unable to locate package"):
        fetch("wordnet-base", tmp_path / "scratch")
