"""JSON as Serving writes it."""

import math

import numpy as np
import pytest

from bench.server.embedded.rest.json_reader import parse
from bench.server.embedded.rest.json_writer import decimal, decimals, echo, quoted


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
    assert decimal(float(np.float32(value))).decode() == text
    for count in (1, 100):
        assert decimals(np.full(count, value, np.float32)) == [text.encode()] * count


def test_seventeen_digits_of_a_double() -> None:
    assert decimal(0.1, double=True) == b"0.1"
    assert decimals(np.array([1 / 3, 1e300, math.inf])) == [b"0.33333333333333331", b"1e+300", b"Infinity"]


def test_many_numbers_are_written_as_each_alone() -> None:
    draw = np.random.default_rng(1)
    edges = [float(f"1e{power}") * (1 + off) for power in range(-6, 10) for off in (0, 1e-7, -1e-7)]
    halves = draw.integers(-(2**12), 2**12, 5000) / 2.0 ** draw.integers(0, 20, 5000)
    sizes = 10.0 ** draw.uniform(-6, 8, 5000) * draw.choice([-1, 1], 5000)
    for values in (edges, halves, sizes, draw.integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)):
        numbers = np.array(values, np.float32)
        assert decimals(numbers) == [decimal(value) for value in numbers.tolist()]


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
