"""Header compression, by the examples of RFC 7541, appendix C."""

import logging

import pytest

from bench.serving.http2.hpack import Decoder, HpackError, encode


def huffman_coded(code: str) -> bytes:
    """A block of one header `a`, whose value is in Huffman's code."""
    return b"\x00\x01a" + bytes([0x80 | len(code) // 2]) + bytes.fromhex(code)


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
    assert Decoder().decode(huffman_coded(code)) == [(b"a", text)]


@pytest.mark.parametrize("code", ["ff", "ffffffff", "00fffe"])
def test_invalid_huffman_codes_are_refused(code: str) -> None:
    """Padding of 8 bits, the end of a string inside it, padding that is not all ones."""
    with pytest.raises(HpackError, match="Huffman"):
        Decoder().decode(huffman_coded(code))


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
    with pytest.raises(HpackError, match="index 62"):
        decoder.decode(b"\xbe")
    for number in range(500):
        decoder.decode(b"\x40\x01a\x04%04d" % number)
    assert decoder.decode(b"\xbe") == [(b"a", b"0499")]
    # 4096 // (32 + 5) = 110 entries are left: the oldest has index 171.
    assert decoder.decode(b"\xff\x2c") == [(b"a", b"0390")]
    with pytest.raises(HpackError, match="index 172"):
        decoder.decode(b"\xff\x2d")


def test_a_repeated_block_follows_the_table() -> None:
    """The same bytes mean another header once the table has changed."""
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.decode(b"\xbe") is decoder.decode(b"\xbe")
    decoder.decode(b"\x40\x01c\x01d")
    assert decoder.decode(b"\xbe") == [(b"c", b"d")]
    # The entries fit into a table of 100 bytes too; the smaller limit alone changes what the same block leaves there.
    decoder.decode(b"\x3f\x45")
    large = b"\x40\x01e\x3c" + b"x" * 60
    decoder.decode(large)
    assert decoder.decode(b"\xbe") == [(b"e", b"x" * 60)]
    with pytest.raises(HpackError, match="index 63"):
        decoder.decode(b"\xbf")


def test_a_few_bytes_cannot_stand_for_a_very_large_list() -> None:
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x7f\x81\x17" + b"x" * 3072)
    assert len(decoder.decode(b"\xbe" * 20)) == 20
    with pytest.raises(HpackError, match="header list larger than 65536"):
        decoder.decode(b"\xbe" * 22)


def test_headers_stay_out_of_the_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Decoder().decode(encode([(b"authorization", b"secret")]))
    assert caplog.text == ""


@pytest.mark.parametrize(
    "block", [b"\x80", b"\xff\xff\xff\xff\xff\xff\x01", b"\x40\x05ab", b"\x41", b"\x3f\xe2\x1f", b"\x82\x20"]
)
def test_blocks_that_do_not_decode(block: bytes) -> None:
    with pytest.raises(HpackError):
        Decoder().decode(block)


def test_what_is_encoded_comes_back() -> None:
    headers = [(b":status", b"200"), (b"grpc-status", b"3"), (b"grpc-message", b"x" * 1000), (b"empty", b"")]
    assert Decoder().decode(encode(headers)) == headers


def test_what_is_encoded_leaves_the_receivers_table_alone() -> None:
    """A block is made once and sent on every connection, where the table may hold anything."""
    decoder = Decoder()
    decoder.decode(
        encode([(b":path", b"/a.B/C"), (b"authorization", b"secret"), (b"content-type", b"application/grpc")])
    )
    with pytest.raises(HpackError, match="index 62"):
        decoder.decode(b"\xbe")


def test_what_is_kept_of_decoded_blocks_is_bounded() -> None:
    decoder = Decoder()
    for number in range(1000):
        fields = [(b"name", b"%d" % number * 200), (b"b", b"c")]
        assert decoder.decode(encode(fields)) == decoder.decode(encode(fields)) == fields
    large = [(b"large", b"x" * 5000)]
    assert decoder.decode(encode(large)) == large
    assert encode(large) not in decoder._cached
    kept = sum(len(name) + len(value) for fields in decoder._cached.values() for name, value in fields)
    assert 0 < kept < 1 << 16


def test_a_block_that_repeats_a_long_header_is_refused() -> None:
    """A bomb: an entry of the table that a byte names again."""
    bomb = b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000
    with pytest.raises(HpackError):
        Decoder().decode(bomb + b"\xbe" * 10_000)
