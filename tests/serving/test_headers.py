"""Headers: what may be one, where its value comes from, and that it never shows."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from bench.core.errors import UsageError
from bench.core.redaction import redacted_command, split_headers
from bench.serving.access import Access
from bench.serving.headers import (
    MOST_BYTES,
    Headers,
    check_header,
    read_headers,
)
from bench.serving.target import Target, TargetKind

TOKEN = "tok-5f3a9c"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("X-Team:search", "X-Team", "search"),
        (" X-Team : search ", "X-Team", "search"),
        ("Cookie: a=1; b=2, c", "Cookie", "a=1; b=2, c"),
        ('X-Key: "q" \\ : {}', "X-Key", '"q" \\ : {}'),
        ("X-Key:a\tb", "X-Key", "a\tb"),
        ("X-Key:süd", "X-Key", "s\xc3\xbcd"),
        ("X-Key:\udcff", "X-Key", "\xff"),
        ("X!#$%&'*+-.^_`|~9:v", "X!#$%&'*+-.^_`|~9", "v"),
    ],
)
def test_any_character_that_http_allows(text: str, name: str, value: str) -> None:
    assert read_headers([text]).revealed() == ((name, value),)


def test_values_from_variables_and_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACCESS_TOKEN", f" Bearer {TOKEN} ")
    for content in (TOKEN, f"{TOKEN}\n", f"{TOKEN}\r\n"):
        (tmp_path / "token").write_text(content, newline="")
        found = read_headers(["Authorization: env:ACCESS_TOKEN", f"X-Token:@{tmp_path}/token"])
        assert found.revealed() == (("Authorization", f"Bearer {TOKEN}"), ("X-Token", TOKEN))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TOKEN, "a header has no colon; write NAME:VALUE"),
        (f": {TOKEN}", "a header has a name that HTTP does not allow"),
        (f"Bearer {TOKEN}:x", "a header has a name that HTTP does not allow"),
        ("X-Token:", "the header X-Token has no value; write NAME:VALUE in one word or in quotes"),
        (
            f"X-Token:{TOKEN}\n",
            "the value of the header X-Token has a character at 11 that HTTP does not allow (code 10)",
        ),
        (f"X-Token:{TOKEN}\x7f", "(code 127)"),
        (f"X-Token:a\0{TOKEN}", "a character at 2"),
        (f"Transfer-Encoding:{TOKEN}", "the header Transfer-Encoding says how a message is cut"),
        (f"content-length:{TOKEN}", "the header content-length says"),
        ("X-Token:env:NOT_THERE", "the header X-Token is to be in the variable 'NOT_THERE', which is not set; set it"),
        ("X-Token:env:EMPTY", "'EMPTY', which is not set"),
        ("X-Token:env:", "the variable ''"),
        ("X-Token:@/not/there", "is to be in the file '/not/there', which cannot be read"),
        ("X-Token:@/", "is to be in the file '/', which cannot be read (it is a folder)"),
        ("X-Token:@", "cannot be read"),
        ("X-Token:@/dev/null", "the file '/dev/null', which is empty"),
        ("X-Token:@/dev/zero", f"the file '/dev/zero', which has over {MOST_BYTES} bytes"),
        ("X-Token:" + TOKEN * MOST_BYTES, "bytes in all; 16384 is the most"),
        ("X-Token:env:LINES", "has a character at 11 that HTTP does not allow (code 10)"),
    ],
)
def test_what_is_refused_is_named_and_no_value_shown(text: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("LINES", f"{TOKEN}\nX-Other: {TOKEN}")
    with pytest.raises(UsageError) as refused:
        read_headers([text])
    assert reason in str(refused.value)
    assert TOKEN not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_header_is_given_once() -> None:
    with pytest.raises(UsageError, match="the header x-token is given twice; give it once"):
        read_headers([f"X-Token:{TOKEN}", "x-token:other"])
    one, other = Headers([("X-A", "1"), ("X-B", "2")]), Headers([("x-b", "3")])
    assert one.replaced_by(other) == Headers([("X-A", "1"), ("x-b", "3")])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("X-Data-Bin", "AAEC", "the header X-Data-Bin cannot be sent over gRPC, where -bin marks binary values"),
        ("grpc-timeout", "1S", "the header grpc-timeout cannot be sent over gRPC, which sets it itself"),
        ("Host", "h", "the header Host cannot be sent over gRPC"),
        ("Content-Type", "h", "the header Content-Type cannot be sent over gRPC"),
        ("X-Token", f"{TOKEN}\xfc", "the value of the header X-Token cannot be sent over gRPC"),
        ("X-Token", f"a\t{TOKEN}", "the value of the header X-Token cannot be sent over gRPC"),
    ],
)
def test_what_grpc_does_not_allow(name: str, value: str, reason: str) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)) as refused:
        Headers([(name, value)]).metadata()
    assert TOKEN not in str(refused.value)
    assert Headers([("X-Token", TOKEN)]).metadata() == (("x-token", TOKEN),)


HEADERS = Headers([("Authorization", f"Bearer {TOKEN}"), ("X-Short", "abc"), ("X-Key", 'q"\\\xc3\xbc-key')])


@pytest.mark.parametrize("show", [repr, str, lambda value: f"{value}", lambda value: f"{value!r:>9}"])
def test_no_text_of_an_object_shows_a_value(show: Callable[[Any], str]) -> None:
    target = Target(TargetKind.REST, "http://h:1", access=Access(HEADERS))
    for value in (HEADERS, Access(HEADERS), target, copy.deepcopy([HEADERS])):
        assert TOKEN not in show(value)
    assert show(HEADERS) == "Headers(Authorization: <redacted>, X-Short: <redacted>, X-Key: <redacted>)"


@pytest.mark.parametrize("encode", [json.dumps, orjson.dumps, msgspec.json.encode, msgspec.to_builtins])
def test_no_encoder_takes_them_unasked(encode: Callable[[Any], Any]) -> None:
    for value in (HEADERS, Access(HEADERS)):
        with pytest.raises(TypeError):
            encode({"headers": value})


def test_a_server_s_text_is_shown_without_what_it_was_sent() -> None:
    assert HEADERS.redact(f"no Bearer {TOKEN} here") == "no <redacted> here"
    assert HEADERS.redact(f"invalid token {TOKEN}, abc") == "invalid token <redacted>, abc"
    assert HEADERS.redact('key q"\\ü-key') == "key <redacted>"
    assert HEADERS.redact_bytes('key q"\\ü-key'.encode()) == b"key <redacted>"
    assert Headers().redact_bytes(b"\xff") == b"\xff"
    for ascii_only in (False, True):
        text = json.dumps({"X-Key": 'q"\\ü-key'}, ensure_ascii=ascii_only)
        assert HEADERS.redact(text) == '{"X-Key": "<redacted>"}'
        assert HEADERS.redact_bytes(text.encode()) == b'{"X-Key": "<redacted>"}'


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("run --header X-A:tok rest", "run --header X-A:<redacted> rest"),
        ("run --header=X-A:tok", "run --header=X-A:<redacted>"),
        ("run --header X-A:env:TOKEN --header X-B:@file", "run --header X-A:env:TOKEN --header X-B:@file"),
        ("gate --candidate-header X-A:tok --baseline-h X-A:tok", "gate --candidate-header X-A:<redacted> "
         "--baseline-h X-A:<redacted>"),
        ("locust --headers=X-A:tok;X-B:env:V;tok", "locust --headers=X-A:<redacted>; X-B:env:V; <redacted>"),
        ("locust --header tok --headless -u 1", "locust --header <redacted> --headless -u 1"),
        ("run --header X-A:tok;X-B:@tok", "run --header X-A:<redacted>"),
        ("run --heade X-A:tok --he", "run --heade X-A:<redacted> --he"),
        ("score --header", "score --header"),
        ("/opt/venv/bin/bertbench run --header X-A:tok", "bertbench run --header X-A:<redacted>"),
        ("/opt/lib/bench/__main__.py run rest", "python -m bench run rest"),
        ("/opt/lib/locust/__main__.py -f /opt/scenario.py", "python -m locust -f /opt/scenario.py"),
    ],
)  # fmt: skip
def test_a_stored_command_line_has_no_value(words: str, shown: str) -> None:
    assert " ".join(redacted_command(words.split(" "))) == shown
    assert "tok" not in " ".join(redacted_command(words.split(" "))).replace("TOKEN", "")


def test_the_list_of_locust_s_option() -> None:
    assert split_headers("X-A: 1; X-B:env:V ;") == ("X-A: 1", "X-B:env:V")
    assert check_header("X-B:env:NOT_THERE") == "X-B:env:NOT_THERE", "read later, by the master only"
