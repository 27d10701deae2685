"""TFRecord files, read without TensorFlow (tensorflow/core/lib/io/record_reader.cc)."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from bench.server.embedded.base.status import Code, StatusError

_POLYNOMIAL: Final = 0x82F63B78  # CRC-32C, reflected
_MASK_DELTA: Final = 0xA282EAD8
_HEADER: Final = struct.Struct("<QI")
_FOOTER: Final = struct.Struct("<I")
# What Serving adds to the error of the reader (saved_model_warmup_util.cc).
_ADVICE: Final = "Please verify your warmup data is in TFRecord format."


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE: Final = _table()


def masked_crc(data: bytes) -> int:
    """The checksum of records: CRC-32C, rotated and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def records(path: Path) -> Iterator[bytes]:
    """The records of a file, in order.

    Raises:
        StatusError: DATA_LOSS where the file is truncated or corrupted.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while (at := file.tell()) < size:
            header = _read(file, _HEADER.size, at)
            length, length_crc = _HEADER.unpack(header)
            if masked_crc(header[:8]) != length_crc:
                raise _damaged("corrupted", at)
            # Compared before memory is taken for it.
            record = _read(file, min(length, size), at)
            if masked_crc(record) != _FOOTER.unpack(_read(file, _FOOTER.size, at))[0]:
                raise _damaged("corrupted", at)
            yield record


def _read(file: BinaryIO, count: int, at: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise _damaged("truncated", at)
    return data


def _damaged(how: str, at: int) -> StatusError:
    return StatusError(Code.DATA_LOSS, f"{how} record at {at}. {_ADVICE}")
