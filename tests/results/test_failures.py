"""The texts of a run's errors are counted in bounds, and none is lost."""

from bench.results.failures import MOST_CHARACTERS, MOST_TEXTS, FailureText, FailureTexts, joined
from bench.results.records import Outcome


def test_equal_texts_are_one_entry_for_each_outcome() -> None:
    texts = FailureTexts()
    for outcome, text in (
        (Outcome.REJECTED, "a"),
        (Outcome.TIMEOUT, "b"),
        (Outcome.TIMEOUT, "b"),
        (Outcome.REJECTED, "b"),
    ):
        texts.add(outcome, text)
    assert texts.found() == (
        FailureText(Outcome.TIMEOUT, "b", 2),
        FailureText(Outcome.REJECTED, "a", 1),
        FailureText(Outcome.REJECTED, "b", 1),
    )


def test_texts_without_end_are_counted_together() -> None:
    texts = FailureTexts()
    for number in range(10_000):
        texts.add(Outcome.REJECTED, f"request {number} " + "x" * number)
    found = texts.found()
    assert len(found) == MOST_TEXTS + 1
    assert found[-1] == FailureText(Outcome.REJECTED, "", 10_000 - MOST_TEXTS)
    assert sum(entry.count for entry in found) == 10_000
    texts.add(Outcome.REJECTED, "y" * 10_000)
    assert max(len(entry.text) for entry in texts.found()) <= MOST_CHARACTERS


def test_a_long_text_keeps_its_start_and_its_end() -> None:
    texts = FailureTexts()
    texts.add(Outcome.REJECTED, "what is wrong" + " " * 5_000 + "what to do")
    (entry,) = texts.found()
    assert len(entry.text) <= MOST_CHARACTERS
    assert (entry.text[:13], entry.text[-10:]) == ("what is wrong", "what to do")


def test_several_processes_are_joined_in_bounds() -> None:
    parts = []
    for worker in range(4):
        texts = FailureTexts()
        for number in range(30):
            texts.add(Outcome.TIMEOUT, f"{worker} {number}")
            texts.add(Outcome.TIMEOUT, "in all")
        parts.append(texts.found())
    found = joined(parts)
    assert found[0] == FailureText(Outcome.TIMEOUT, "in all", 120)
    assert len(found) == MOST_TEXTS + 1
    assert sum(entry.count for entry in found) == 240
