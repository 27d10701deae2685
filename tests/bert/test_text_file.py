"""Reading sentences, a line each."""

import io
import sys
from pathlib import Path

import pytest

from bench.bert.text.text_file import MAX_LINE_BYTES, Line, read_sentences
from bench.core.errors import UsageError


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "text.tsv"
    path.write_bytes(data)
    return path


def test_blank_lines_are_skipped_and_still_counted(tmp_path: Path) -> None:
    path = write(tmp_path, b"one\n\n  \ntwo \n")
    assert list(read_sentences(path)) == [Line(1, "one"), Line(4, "two")]


def test_byte_order_mark_crlf_and_a_last_line_without_end(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfone\r\ntwo")
    assert list(read_sentences(path)) == [Line(1, "one"), Line(2, "two")]


def test_only_line_feeds_end_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a\u2028b\x0bc\n".encode())
    assert list(read_sentences(path)) == [Line(1, "a\u2028b\x0bc")]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("né\n".encode())))
    assert list(read_sentences("-")) == [Line(1, "né")]


def test_a_line_that_is_not_utf8_is_named_after_the_good_ones_are_given(tmp_path: Path) -> None:
    lines = read_sentences(write(tmp_path, b"good\n\nbad \xff\nmore\n"))
    assert next(lines) == Line(1, "good")
    with pytest.raises(UsageError, match=r"text\.tsv line 3 is not UTF-8 \(byte 5"):
        next(lines)


def test_a_missing_file_fails_at_the_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        read_sentences(tmp_path / "absent.tsv")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_sentences(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\n \n\r\n", b"\xef\xbb\xbf"])
def test_no_sentence_at_all_is_an_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="holds no sentence"):
        list(read_sentences(write(tmp_path, data)))


def test_a_file_without_line_ends_does_not_fill_memory(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="line 1 is longer"):
        list(read_sentences(write(tmp_path, b"x" * (MAX_LINE_BYTES + 1))))
