"""JSON as Serving writes it."""

import numpy as np
import pytest

from bench.server.embedded.json_reader import parse
from bench.server.embedded.json_writer import decimal, echo, quoted, shortest


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (3.0, "3.0"),
        (-0.0, "-0.0"),
        (4.04e-06, "4.04e-06"),
        (3.1666667, "3.16666675"),
        (123456.789, "123456.789"),
        (9000000.0, "9e+06"),
        (16777216.0, "16777216.0"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (float("nan"), "NaN"),
    ],
)
def test_six_digits_of_a_float_if_they_suffice_else_nine(value: float, text: str) -> None:
    assert decimal(float(np.float32(value))) == text


def test_seventeen_digits_of_a_double() -> None:
    assert decimal(0.1, double=True) == "0.1"
    assert decimal(1 / 3, double=True) == "0.33333333333333331"


def test_text_is_escaped_as_little_as_possible() -> None:
    assert quoted(b'"\\/\b\f\n\r\t\x01\x1f\xff\xc3\xa9') == b'"\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001F\xff\xc3\xa9"'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (12.34, "12.34"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1.5e33, "1.5e33"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e308"),
    ],
)
def test_doubles_inside_a_document(value: float, text: str) -> None:
    assert shortest(value) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            b'{"a":[1,{"b":null}],"c":{},"d":[]}',
            b'{\n    "a": [\n        1,\n        {\n            "b": null\n'
            b'        }\n    ],\n    "c": {},\n    "d": []\n}',
        ),
        (b"[1e3]", b"[\n    1000.0\n]"),
        # A lone number goes through the rule for floats, one inside a list does not.
        (b"0.123456789", b"0.123456791"),
        (b"[0.123456789]", b"[\n    0.123456789\n]"),
        (b"1e39", b"1e+39"),
        (b"18446744073709551615", b"18446744073709551615"),
        # The writer stops at what is no number, and what it wrote so far is used.
        (b"[1,NaN,2]", b"[\n    1,\n    "),
        (b"NaN", b"NaN"),
    ],
)
def test_values_are_repeated(body: bytes, text: bytes) -> None:
    assert echo(parse(body)) == text
