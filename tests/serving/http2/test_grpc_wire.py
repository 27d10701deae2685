import pytest

from bench.serving.http2.grpc_wire import (
    framed,
    is_one_message,
    percent_decoded,
    percent_encoded,
    timeout_header,
    timeout_seconds,
)


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(0.25, b"250000u"), (30.0, b"30000000u"), (99.999_999, b"99999999u"), (100.5, b"100500m"), (1e6, b"1000000S")],
)
def test_timeouts(seconds: float, header: bytes) -> None:
    assert timeout_header(seconds) == header
    assert timeout_seconds(header) == pytest.approx(seconds)


def test_timeouts_at_the_ends() -> None:
    assert timeout_header(0.0) == b"1u"
    assert timeout_header(1e-7) == b"1u"
    assert timeout_seconds(timeout_header(1e12)) == 99_999_999
    assert [timeout_seconds(header) for header in (None, b"", b"5", b"5x", b"123456789S")] == [None] * 5


@pytest.mark.parametrize("text", [b"", b"plain", b"50 % of it", "für \n\t".encode(), bytes(range(256))])
def test_status_texts(text: bytes) -> None:
    encoded = percent_encoded(text)
    assert encoded.isascii()
    assert percent_decoded(encoded) == text


def test_a_percent_sign_that_begins_no_escape_stays() -> None:
    assert percent_decoded(b"5 % or %zz or %4") == b"5 % or %zz or %4"


def test_messages() -> None:
    assert framed(b"abc") == b"\0\0\0\0\3abc"
    assert is_one_message(framed(b""))
    assert not any(map(is_one_message, (b"", b"\0\0\0\0", framed(b"abc")[:-1], framed(b"a") + framed(b"b"))))
