"""The output formats of `score`."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from bench.bert.contract.masked_requests import Likeliest
from bench.bert.contract.scoring import ComparedSentence, ScoredSentence
from bench.bert.text.sentence import EncodedSentence
from bench.report.score_page import Html, ScoredModel
from bench.report.scores import Json, Jsonl, ScoreFormat, Tsv
from tests.support.browser import open_browser, opened, serious_faults

SCORED = ScoredSentence(
    7,
    EncodedSentence("Déjà vus!", ("deja", "vu", "##s", "!"), (5, 6, 7, 8), (0, 1, 1, 2)),
    np.log(np.array([0.5, 0.25, 0.5, 1.0], np.float32)),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as started:
        yield started


MODEL = ScoredModel("first", ("<i>one", "two", "three"), top_k=2)


def document(form: ScoreFormat, *scored: ScoredSentence) -> str:
    return form.head + form.separator.join(form.sentence(entry) for entry in scored) + form.tail


def test_tsv_is_line_position_word_probability() -> None:
    assert document(Tsv(), SCORED) == "7\t1\tdeja\t0.5\n7\t2\tvus\t0.125\n7\t3\t!\t1\n"


def test_a_word_with_white_space_stays_in_its_cell() -> None:
    """As an added token may have it."""
    odd = EncodedSentence("a\tb\nc", ("a\tb\nc",), (5,), (0,))
    scored = ScoredSentence(1, odd, np.log(np.array([0.5], np.float32)))
    assert document(Tsv(), scored) == "1\t1\ta\\tb\\nc\t0.5\n"


def test_every_format_has_the_word_that_the_vocabulary_lacks(browser: Browser, tmp_path: Path) -> None:
    """Beside the piece that stood for it, where pieces are shown; `json` is that of another program, pieces alone."""
    sentence = EncodedSentence("a \U0001f600\t!", ("a", "[UNK]", "!"), (5, 1, 6), (0, 1, 2), {1: "\U0001f600\t!"})
    scored = ScoredSentence(1, sentence, np.log(np.array([0.5, 0.25, 0.5], np.float32)))
    assert [line.split("\t") for line in document(Tsv(), scored).splitlines()] == [
        ["1", "1", "a", "0.5"],
        ["1", "2", "\U0001f600\\t!", "0.25"],
        ["1", "3", "!", "0.5"],
    ]
    (_, word, _) = json.loads(document(Jsonl(), scored))["words"]
    assert (word["word"], [piece["piece"] for piece in word["pieces"]]) == ("\U0001f600\t!", ["[UNK]"])
    assert [token["token"] for token in json.loads(document(Json(), scored))[0]["tokens"]] == ["a", "[UNK]", "!"]
    path = tmp_path / "scores.html"
    path.write_text(document(Html([MODEL]), scored), encoding="utf-8")
    with opened(browser, path) as watched:
        page = watched.page
        assert page.locator("section .w").nth(1).inner_text().startswith("\U0001f600 !")
        page.locator("summary").click()
        assert "[UNK]\u00a00.25" in page.locator("td").all_inner_texts()


def test_jsonl_has_words_and_their_pieces() -> None:
    entry = json.loads(document(Jsonl(), SCORED))
    assert list(entry) == ["line", "text", "words", "ppl", "ppl_per_piece"]
    assert entry["text"] == "Déjà vus!"
    assert entry["words"][1] == {
        "word": "vus",
        "prob": pytest.approx(0.125),
        "pieces": [{"piece": "vu", "prob": pytest.approx(0.25)}, {"piece": "##s", "prob": pytest.approx(0.5)}],
    }
    assert abs(entry["ppl"] - (1 / 16) ** (-1 / 3)) < 1e-6


def test_json_is_what_bert_as_language_model_writes() -> None:
    """A list of {"tokens": [{"token", "prob"}], "ppl"}, indent 2, not escaped, no line feed at the end."""
    probs = [float(value) for value in np.exp(SCORED.log_prob.astype(np.float64))]
    tokens = [{"token": piece, "prob": prob} for piece, prob in zip(SCORED.sentence.pieces, probs, strict=True)]
    expected = [{"tokens": tokens, "ppl": SCORED.ppl}]
    assert document(Json(), SCORED, SCORED) == json.dumps(expected * 2, indent=2, ensure_ascii=False)


def test_a_page_colours_each_word_and_shows_what_the_sentence_says(browser: Browser, tmp_path: Path) -> None:
    text = ("<b>vu", "##s")
    hostile = ScoredSentence(9, EncodedSentence("x", text, (5, 6), (0, 0)), np.log(np.array([0.5, 0.001], np.float32)))
    path = tmp_path / "scores.html"
    path.write_text(document(Html([MODEL]), SCORED, hostile), encoding="utf-8")
    with opened(browser, path, width=390) as watched:
        page = watched.page
        words = page.locator("section").first.locator(".w")
        assert words.all_inner_texts() == ["deja", "vus", "!"]
        assert [word.get_attribute("class") for word in words.all()] == ["w b0", "w b2", "w b0"]
        words.nth(1).hover()
        assert words.nth(1).locator(".tip").inner_text() == "vus 0.125"
        page.locator("summary").nth(1).click()
        assert page.locator("section").nth(1).locator("td").all_inner_texts() == [
            "0.0005",
            "<b>vu\u00a00.5, ##s\u00a00.001",
        ]
        assert page.locator("section b").count() == 0
        assert not serious_faults(page)
        assert (watched.errors, watched.requests) == ([], [])


def test_a_page_shows_what_two_models_find_likeliest(browser: Browser, tmp_path: Path) -> None:
    """By pointer and by keyboard, and in a table; the second model splits the sentence in other words."""
    probs = np.log(np.array([[0.5, 0.25], [0.25, 0.125], [0.5, 0.001], [0.9, 0.1]], np.float32))
    likeliest = Likeliest(np.array([[1, 0], [2, 1], [0, 1], [1, 7]], np.int32), probs)
    first = dataclasses.replace(SCORED, likeliest=likeliest)
    same = dataclasses.replace(SCORED, log_prob=SCORED.log_prob - np.float32(np.log(2)))
    other = dataclasses.replace(
        SCORED, sentence=EncodedSentence("x", ("d", "##e", "##j", "a"), (1, 2, 3, 4), (0, 0, 1, 2))
    )
    sides = [vars(first) | {"other": second} for second in (same, other)]
    path = tmp_path / "scores.html"
    form = Html([MODEL, ScoredModel("<script>second", ())])
    path.write_text(document(form, *(ComparedSentence(**side) for side in sides)), encoding="utf-8")
    with opened(browser, path, width=390) as watched:
        page = watched.page
        assert "A first, B <script>second" in page.locator(".note").inner_text()
        words = page.locator("section").first.locator(".w")
        tip = words.nth(1).locator(".tip")
        assert not tip.is_visible()
        words.first.focus()
        page.keyboard.press("Tab")
        assert tip.inner_text().split("\n") == [
            "vus 0.125",
            "Likeliest here:",
            "vu: three\u00a00.25, two\u00a00.125",
            "##s: <i>one\u00a00.5, two\u00a00.001",
        ]
        page.locator("summary").first.click()
        rows = page.locator("section").first.locator("tr").all_inner_texts()
        assert rows[0].split("\t") == ["Word", "A", "B", "B / A", "Likeliest of A"]
        assert rows[3].split("\t") == ["!", "1", "0.5", "0.5", "two\u00a00.9, [7]\u00a00.1"]
        assert page.locator("section").nth(1).locator("table").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert not serious_faults(page)
        assert (watched.errors, watched.requests) == ([], [])
