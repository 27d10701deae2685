"""Text in cells of CSV files that people open in a spreadsheet."""

import re
from typing import Final

# What a spreadsheet takes for a formula, or removes to find one (OWASP, *CSV Injection*), and what marks such a text.
_FORMULA: Final = re.compile("'*[=+\\-@\\t\\r\\n]")


def text_cell(text: str) -> str:
    """A text as a cell that no spreadsheet runs: with an apostrophe before what would be a formula.

    A reader removes one apostrophe where one or more stand before `=`, `+`, `-`, `@`, a tab or a line end, and has the
    text back.
    """
    return f"'{text}" if _FORMULA.match(text) else text
