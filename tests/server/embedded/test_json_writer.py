"""JSON as Serving writes it."""

import pytest

from bench.server.embedded.rest.json_reader import parse
from bench.server.embedded.rest.json_writer import echo, quoted


def test_text_is_escaped_as_little_as_possible() -> None:
    assert quoted(b'"\\/\b\f\n\r\t\x01\x1f\xff\xc3\xa9') == b'"\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001F\xff\xc3\xa9"'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            b'{"a":[1,{"b":null}],"c":{},"d":[]}',
            b'{\n    "a": [\n        1,\n        {\n            "b": null\n'
            b'        }\n    ],\n    "c": {},\n    "d": []\n}',
        ),
        (b"[1e3]", b"[\n    1000.0\n]"),
        (b"[18446744073709551616]", b"[\n    18446744073709553000.0\n]"),
        (b'{"a":0.30000000000000004}', b'{\n    "a": 0.30000000000000007\n}'),
        (b"[1e22,-1e-7,-0.0]", b"[\n    1e22,\n    -1e-7,\n    -0.0\n]"),
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


def test_what_is_repeated_has_a_limit() -> None:
    assert len(echo(parse(b"[" * 20_000 + b"]" * 20_000))) < 300 << 20


def test_a_deep_value_is_not_repeated_whole() -> None:
    """The blanks before its lines grow with the square of its depth."""
    assert len(echo(parse(b"[" * 8000 + b"]" * 8000))) == 1 << 20
