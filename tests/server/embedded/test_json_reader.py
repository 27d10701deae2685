"""JSON as Serving's parser reads it: values, and errors with their offsets."""

import math
from typing import Any

import pytest

from bench.server.embedded.rest.json_reader import JsonError, JsonObject, parse


def plain(value: Any) -> Any:
    """Objects as lists of pairs, so that they compare."""
    if type(value) is JsonObject:
        return [(name, plain(item)) for name, item in zip(value.names, value.values, strict=True)]
    return [plain(item) for item in value] if type(value) is list else value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"null", None),
        (b" \n\t\r[true , false] \n", [True, False]),
        (b'{"a":1,"a":2}', [(b"a", 1), (b"a", 2)]),
        (b'{"a":{},"b":[]}', [(b"a", []), (b"b", [])]),
        (b"\xef\xbb\xbf7", 7),
        (b"{}\0 what follows a NUL is not looked at", []),
        # Strings are bytes in any encoding.
        (b'"\xff\xc3"', b"\xff\xc3"),
        (b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', b'"\\/\b\f\n\r\t'),
        (b'"\\u00e9\\u20AC\\ud83d\\ude00"', "é€😀".encode()),
        (b'"\\udc00"', b"\xed\xb0\x80"),
        # Whole numbers up to 64 bits, doubles beyond.
        (b"-0", 0),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", float(2**64)),
        (b"-9223372036854775808", -(2**63)),
        (b"-9223372036854775809", -float(2**63)),
        # Digit by digit, which is not the nearest double.
        (b"9" * 300, 1.0000000000000002e300),
        (b"0.1", 0.1),
        (b"-1.5E+3", -1500.0),
        (b"1e-400", 0.0),
        (b"1e00000000000000000001", 10.0),
        (b"123456789.125", 123456789.125),
        (b"1e-310", 1e-310),
        (b"Infinity", math.inf),
        (b"-Inf", -math.inf),
        # The parser does not give back what its attempt at NaN took.
        (b"NInf", math.inf),
        # A point after NaN starts a fraction of its own.
        (b"NaN.5", 0.5),
    ],
)
def test_values(text: bytes, value: object) -> None:
    assert plain(parse(text)) == value


def test_nan() -> None:
    assert math.isnan(parse(b"NaN"))


def test_depth_costs_no_recursion() -> None:
    depth = 100_000
    value = parse(b"[" * depth + b"]" * depth)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "The document is empty. at offset: 0"),
        (b"  \n", "The document is empty. at offset: 3"),
        (b"\xef\xbb\xbf ", "The document is empty. at offset: 4"),
        (b"]", "Invalid value. at offset: 0"),
        (b"nul", "Invalid value. at offset: 3"),
        (b"truE", "Invalid value. at offset: 3"),
        (b"+1", "Invalid value. at offset: 0"),
        (b"-", "Invalid value. at offset: 1"),
        (b".5", "Invalid value. at offset: 0"),
        (b"Infinit", "Invalid value. at offset: 7"),
        (b"Na", "Invalid value. at offset: 2"),
        (b"[1,]", "Invalid value. at offset: 3"),
        (b"{} {}", "The document root must not be followed by other values. at offset: 3"),
        (b"{'a':1}", "Missing a name for object member. at offset: 1"),
        (b'{"a":1,}', "Missing a name for object member. at offset: 7"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a":1', "Missing a comma or '}' after an object member. at offset: 6"),
        (b"[1 2]", "Missing a comma or ']' after an array element. at offset: 3"),
        (b"[01]", "Missing a comma or ']' after an array element. at offset: 2"),
        (b'"a', "Missing a closing quotation mark in string. at offset: 2"),
        (b'"a\0"', "Missing a closing quotation mark in string. at offset: 2"),
        (b'"a\nb"', "Invalid escape character in string. at offset: 2"),
        (b'"a\\x"', "Invalid escape character in string. at offset: 2"),
        (b'"\\u12g4"', "Incorrect hex digit after \\u escape in string. at offset: 1"),
        (b'"\\ud800x"', "The surrogate pair in string is invalid. at offset: 1"),
        (b'"\\ud800\\u0041"', "The surrogate pair in string is invalid. at offset: 1"),
        (b"[1e309]", "Number too big to be stored in double. at offset: 1"),
        (b"[" + b"9" * 400 + b"]", "Number too big to be stored in double. at offset: 1"),
        (b"1.e5", "Miss fraction part in number. at offset: 2"),
        (b"1e", "Miss exponent in number. at offset: 2"),
        (b"1e+", "Miss exponent in number. at offset: 3"),
    ],
)
def test_errors(text: bytes, error: str) -> None:
    with pytest.raises(JsonError) as caught:
        parse(text)
    assert str(caught.value) == error
