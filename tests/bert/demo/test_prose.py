"""From paragraphs to clean sentences."""

import pytest

from bench.bert.demo.prose import is_prose, sentences, split_sentences


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One thing. Another thing! A third? Yes.", ["One thing.", "Another thing!", "A third?", "Yes."]),
        ('She said "no." Then she left.', ['She said "no."', "Then she left."]),
        (
            "Mr. Smith met Dr. Jones, e.g. Anna, at 5 p.m. on the pier.",
            ["Mr. Smith met Dr. Jones, e.g. Anna, at 5 p.m. on the pier."],
        ),
        ("J. R. Brown paid 3.50 dollars.", ["J. R. Brown paid 3.50 dollars."]),
        ("it ends here. but this goes on", ["it ends here. but this goes on"]),
        ("Wait... What?", ["Wait...", "What?"]),
    ],
)
def test_cut_at_sentence_ends(paragraph: str, expected: list[str]) -> None:
    assert split_sentences(paragraph) == expected


def test_typography_is_made_plain() -> None:
    assert list(sentences("“It’s  a\u00a0nice\nday…” he said to her.")) == ['"It\'s a nice day..." he said to her.']


def test_speech_over_several_sentences_loses_its_lonely_marks() -> None:
    speech = '"I came in the evening. You were out, I was told. I left again at once." That was all.'
    assert list(sentences(speech)) == [
        "I came in the evening.",
        "You were out, I was told.",
        "I left again at once.",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a big figure in the movement",
        "Zoë paid 12% more than René did (or so she says).",
        "Go and see for yourself!",
    ],
)
def test_prose(text: str) -> None:
    assert is_prose(text)


@pytest.mark.parametrize(
    "text",
    [
        "Too short this",
        "word " * 61,
        "run apt-get_install foo = bar now please",
        "Anna Bella Carla Dora and Emma Fox",
        'a mark of "speech that never ends',
        "an opening (bracket that never closes",
        "1 2 3 4 5 6 7 8 9 10 a few words here 11 12 13 14",
        "see https://example.org/x for more of it",
    ],
)
def test_not_prose(text: str) -> None:
    assert not is_prose(text)
