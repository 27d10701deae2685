"""Header compression, by the examples of RFC 7541, appendix C."""

import pytest

from bench.http2.hpack import Decoder, HpackError, encode, huffman_decode


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("a8eb10649cbf", b"no-cache"),
        ("25a849e95ba97d7f", b"custom-key"),
        ("25a849e95bb8e8b4bf", b"custom-value"),
        ("6402", b"302"),
        ("aec3771a4b", b"private"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        ("9d29ad171863c78f0b97c8e9ae82ae43d3", b"https://www.example.com"),
        (
            "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
        ("", b""),
    ],
)
def test_huffman_code(code: str, text: bytes) -> None:
    assert huffman_decode(bytes.fromhex(code)) == text


@pytest.mark.parametrize("code", ["ff", "ffffffff", "00ff00"[:4] + "fe"])
def test_what_is_no_huffman_code(code: str) -> None:
    with pytest.raises(HpackError):
        huffman_decode(bytes.fromhex(code))


def test_requests_on_one_connection_share_a_table() -> None:
    """Appendix C.4: three requests, the later ones shorter by what the earlier ones left in the table."""
    decoder = Decoder()
    first = decoder.decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"))
    assert first == [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
    ]
    second = decoder.decode(bytes.fromhex("828684be5886a8eb10649cbf"))
    assert second == [*first, (b"cache-control", b"no-cache")]
    third = decoder.decode(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
    assert third == [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ]


def test_plain_literals() -> None:
    """Appendix C.2: with and without indexing, never indexed."""
    decoder = Decoder()
    indexed = bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572")
    assert decoder.decode(indexed) == [(b"custom-key", b"custom-header")]
    assert decoder.decode(b"\xbe") == [(b"custom-key", b"custom-header")]
    assert decoder.decode(bytes.fromhex("040c2f73616d706c652f70617468")) == [(b":path", b"/sample/path")]
    assert decoder.decode(bytes.fromhex("100870617373776f726406736563726574")) == [(b"password", b"secret")]


def test_the_table_forgets_what_does_not_fit() -> None:
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.decode(b"\xbe") == [(b"a", b"b")]
    # A table of no size, then of full size again: it is empty.
    decoder.decode(b"\x20\x3f\xe1\x1f")
    with pytest.raises(HpackError, match="no header at index 62"):
        decoder.decode(b"\xbe")
    for number in range(500):
        decoder.decode(b"\x40\x01a\x04%04d" % number)
    assert decoder.decode(b"\xbe") == [(b"a", b"0499")]
    assert len(decoder._dynamic) == 4096 // (32 + 5)


@pytest.mark.parametrize("block", [b"\x80", b"\xff\xff\xff\xff\xff\xff\x01", b"\x40\x05ab", b"\x41", b"\x3f\xe2\x1f"])
def test_blocks_that_do_not_decode(block: bytes) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(block)


def test_what_is_encoded_comes_back() -> None:
    headers = [(b":status", b"200"), (b"grpc-status", b"3"), (b"grpc-message", b"x" * 1000), (b"empty", b"")]
    assert Decoder().decode(encode(headers)) == headers
