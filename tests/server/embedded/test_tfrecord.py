"""TFRecord files."""

import struct
from pathlib import Path

import pytest

from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.manager.tfrecord import masked_crc, records


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


def test_the_checksum_is_crc_32c() -> None:
    # The check value of CRC-32C over "123456789" is 0xE3069283; masked as in TensorFlow's hash/crc32c.h.
    crc = 0xE3069283
    assert masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(record(b"a") + record(b"") + record(b"x" * 1000))
    assert list(records(path)) == [b"a", b"", b"x" * 1000]


@pytest.mark.parametrize(
    "data", [record(b"abc")[:5], record(b"abc")[:-1], record(b"abc")[:-1] + b"?", b"?" + record(b"abc")[1:]]
)
def test_damage_is_seen(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "records"
    path.write_bytes(record(b"good") + data)
    found = records(path)
    assert next(found) == b"good"
    with pytest.raises(StatusError) as caught:
        next(found)
    assert caught.value.code is Code.DATA_LOSS
    assert caught.value.message.endswith(". Please verify your warmup data is in TFRecord format.")
