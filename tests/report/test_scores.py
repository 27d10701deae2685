"""The output formats of `score`."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench.bert.contract.scoring import ScoredSentence
from bench.bert.text.sentence import EncodedSentence
from bench.report.scores import FORMATS
from tests.support.browser import open_browser, opened, serious_faults

SCORED = ScoredSentence(
    7,
    EncodedSentence("Déjà vus!", ("deja", "vu", "##s", "!"), (5, 6, 7, 8), (0, 1, 1, 2)),
    np.log(np.array([0.5, 0.25, 0.5, 1.0], np.float32)),
)


def document(name: str, *scored: ScoredSentence) -> str:
    form = FORMATS[name]
    return form.head + form.separator.join(form.sentence(entry) for entry in scored) + form.tail


def test_tsv_is_line_position_word_probability() -> None:
    assert document("tsv", SCORED) == "7\t1\tdeja\t0.5\n7\t2\tvus\t0.125\n7\t3\t!\t1\n"


def test_jsonl_has_words_and_their_pieces() -> None:
    entry = json.loads(document("jsonl", SCORED))
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
    assert document("json", SCORED, SCORED) == json.dumps(expected * 2, indent=2, ensure_ascii=False)


def test_a_page_colours_each_word_and_shows_what_the_sentence_says(tmp_path: Path) -> None:
    text = ("<b>vu", "##s")
    hostile = ScoredSentence(9, EncodedSentence("x", text, (5, 6), (0, 0)), np.log(np.array([0.5, 0.001], np.float32)))
    path = tmp_path / "scores.html"
    path.write_text(document("html", SCORED, hostile), encoding="utf-8")
    with open_browser() as browser, opened(browser, path, width=390) as watched:
        page = watched.page
        words = page.locator("section").first.locator(".w")
        assert words.all_inner_texts() == ["deja", "vus", "!"]
        assert [word.get_attribute("class") for word in words.all()] == ["w b0", "w b2", "w b0"]
        assert words.nth(1).get_attribute("title") == "vus: 0.125"
        page.locator("summary").nth(1).click()
        assert page.locator("section").nth(1).locator("td").all_inner_texts() == ["0.0005", "<b>vu 0.5, ##s 0.001"]
        assert page.locator("section b").count() == 0
        assert not serious_faults(page)
        assert (watched.errors, watched.requests) == ([], [])
