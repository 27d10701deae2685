"""Cells that a spreadsheet does not run, by which a reader has the text back."""

import csv
import io
import re

import pytest

from bench.report.csv_cells import text_cell


@pytest.mark.parametrize("sign", list("=+-@\t\r\n"))
@pytest.mark.parametrize("before", ["", "'", "''"])
def test_no_formula_is_left_and_the_text_comes_back(sign: str, before: str) -> None:
    text = f"{before}{sign}cmd|' /C calc'!A0"
    stream = io.StringIO()
    csv.writer(stream).writerow([text_cell(text), "x"])
    ((cell, _),) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert cell[0] == "'"
    # As docs/guide/reading-a-report.md has it.
    assert re.sub("^'(?='*[=+\\-@\\t\\r\\n])", "", cell) == text


@pytest.mark.parametrize("text", ["run-1", "", "'quoted'", "a=b", "2 lines"])
def test_other_texts_are_as_they_were(text: str) -> None:
    assert text_cell(text) == text
