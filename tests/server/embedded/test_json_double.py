"""Doubles as RapidJSON 1.1.0 writes them."""

import struct

import numpy as np
import pytest

from bench.server.embedded.rest.json_double import double_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (-12.34, "-12.34"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1e22, "1e22"),
        (1.5e33, "1.5e33"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (2.2250738585072014e-308, "2.2250738585072014e-308"),
        (1.7976931348623157e308, "1.7976931348623157e308"),
        # Seen from tensorflow_model_server; the nearest of so many digits is ...552000.
        (2.0**64, "18446744073709553000.0"),
        # Not the shortest, which lies at the edge of what reads back.
        (1e23, "9.999999999999999e22"),
        (0.1 + 0.2, "0.30000000000000007"),
        (2.0**63, "9223372036854776000.0"),
        (9007199254740992.0, "9007199254740992.0"),
    ],
)
def test_doubles(value: float, text: str) -> None:
    assert double_text(value) == text


def test_every_text_reads_back() -> None:
    draw = np.random.default_rng(1)
    bits = draw.integers(0, 0x7FF0_0000_0000_0000, 2000, dtype=np.uint64).tolist()
    numbers = [struct.unpack("<d", struct.pack("<Q", each))[0] for each in bits]
    numbers += [2.0**power for power in range(-1074, 1024)] + [power * 5e-324 for power in range(1, 200)]
    for value in numbers:
        text = double_text(value)
        assert float(text) == value
        digits = text.partition("e")[0].replace(".", "").strip("0")
        assert len(digits) <= 17
