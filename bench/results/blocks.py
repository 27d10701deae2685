"""Request records as blocks of bytes: in the memory of a load generator, sent to its master, appended to a file.

Light on purpose: numpy and the standard library only, for a worker's 150 MB. A worker fills a `RecordBuffer` and hands
`take()` over about once a second; `bench.results.run_folder.RunWriter.add_block` stores the bytes; `read_blocks` gives
them back as arrays.

A block, little-endian:

    magic     4 bytes  BBRB
    format    u16      see the history
    header    u32      length of the header
    rows      u32      length of the rows, bytes
    crc       u32      CRC-32 of the header and the rows
    header             JSON {"worker", "sequence", "signatures"}
    rows               records of `ROW`, packed

`sequence` counts a worker's blocks from 0, so that a lost block shows and a repeated one is not counted twice.

Format history:
    1: first.
"""

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from math import nan
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.core.errors import UsageError
from bench.results.records import Ended, Outcome, RequestRecord, RequestShape, WrongKind
from bench.workload.workload import MOST_SECONDS

FORMAT: Final = 1
_MAGIC: Final = b"BBRB"
_HEAD: Final = struct.Struct("<4sHIII")

# A block has the records of about a second; more than this is a damaged length.
_MOST_BYTES: Final = 1 << 28
MOST_WORKERS: Final = 1 << 16
MOST_SIGNATURES: Final = 1 << 7
"""As many as the int8 index of the Parquet file counts."""
# The numbers are part of the format: a new name gets the next number, none is ever reused.
OUTCOME_CODES: Final[dict[str, int]] = {
    Outcome.OK: 0,
    Outcome.WRONG_ANSWER: 1,
    Outcome.TIMEOUT: 2,
    Outcome.UNAVAILABLE: 3,
    Outcome.REJECTED: 4,
    Outcome.INVALID_RESPONSE: 5,
    Outcome.DROPPED: 6,
}
WRONG_KIND_CODES: Final[dict[str | None, int]] = {
    None: 0,
    WrongKind.DRIFT: 1,
    WrongKind.SWAP: 2,
    WrongKind.TRUNCATED: 3,
    WrongKind.SHAPE: 4,
    WrongKind.NOT_FINITE: 5,
}
PROTOCOL_CODES: Final[dict[str, int]] = {"rest": 0, "grpc": 1}

NO_BYTES: Final = 0xFFFFFFFF
"""`bytes_out` and `bytes_in` of a request that has none."""
NO_VERSION: Final = -1
"""`version` where the protocol does not tell."""

# The common part of a request's records is packed once; it is the middle of a row.
_SHAPE: Final = struct.Struct("<BBIHIIII")
_ROW_STRUCT: Final = struct.Struct(f"<dddBBBB{_SHAPE.size}sIffq")
ROW: Final = np.dtype(
    [
        ("due", "<f8"),
        ("sent", "<f8"),  # NaN: never
        ("done", "<f8"),  # NaN: never
        ("outcome", "u1"),  # OUTCOME_CODES
        ("wrong_kind", "u1"),  # WRONG_KIND_CODES
        ("checked", "u1"),
        ("warmup", "u1"),
        ("protocol", "u1"),  # PROTOCOL_CODES
        ("signature", "u1"),  # index into the header's signatures
        ("sentence", "<u4"),
        ("sentences", "<u2"),
        ("words", "<u4"),
        ("rows", "<u4"),
        ("tokens", "<u4"),
        ("bytes_out", "<u4"),  # NO_BYTES: none
        ("bytes_in", "<u4"),  # NO_BYTES: none
        ("build", "<f4"),  # NaN: absent
        ("parse", "<f4"),  # NaN: absent
        ("version", "<i8"),  # NO_VERSION: absent
    ]
)


class RecordBuffer:
    """Records of one worker, in memory until `take`.

    Not locked: `append` and `take` may be called from greenlets of one thread (neither yields), not from two threads.

    Args:
        worker: index of the load-generating process, 0 or more.
        sequence: number of its first block; above 0 where another buffer took the worker's earlier records.
    """

    def __init__(self, worker: int, sequence: int = 0) -> None:
        self.worker = worker
        self._rows = bytearray()
        self._sequence = sequence
        self._signatures: dict[str, int] = {}

    def __len__(self) -> int:
        """Number of records."""
        return len(self._rows) // ROW.itemsize

    def shape(self, shape: RequestShape) -> bytes:
        """What `append` takes for the records of a prepared request."""
        code = self._signatures.setdefault(shape.signature, len(self._signatures))
        numbers = shape.sentence, shape.sentences, shape.words, shape.rows, shape.tokens
        return _SHAPE.pack(PROTOCOL_CODES[shape.protocol], code, *numbers, _or(shape.bytes_out, NO_BYTES))

    def append(self, ended: Ended, shape: bytes, warmup: bool) -> None:
        """Adds one request.

        Nothing is checked here but what packing checks: this runs in the hot path. `read_blocks` checks.

        Args:
            ended: what became of it.
            shape: what `shape` made of it.
            warmup: whether it belongs to the warm-up.
        """
        due, sent, done, outcome, wrong_kind, bytes_in, parse, version = ended
        self._rows += _ROW_STRUCT.pack(
            due,
            nan if sent is None else sent,
            nan if done is None else done,
            OUTCOME_CODES[outcome],
            WRONG_KIND_CODES[wrong_kind],
            parse is not None,
            warmup,
            shape,
            NO_BYTES if bytes_in is None else bytes_in,
            nan if sent is None else 0.0,
            nan if parse is None else parse,
            NO_VERSION if version is None else version,
        )

    def append_record(self, record: RequestRecord) -> None:
        """Adds a `RequestRecord`; slower than `append`. Its worker must be this buffer's."""
        if record.worker != self.worker:
            raise ValueError(f"a record of worker {record.worker} in the buffer of worker {self.worker}")
        shape = RequestShape(*(getattr(record, name) for name in RequestShape._fields))
        codes = OUTCOME_CODES[record.outcome], WRONG_KIND_CODES[record.wrong_kind]
        times = record.due, _or(record.sent, nan), _or(record.done, nan)
        seconds = _or(record.build, nan), _or(record.parse, nan)
        answer = _or(record.bytes_in, NO_BYTES), *seconds, _or(record.version, NO_VERSION)
        self._rows += _ROW_STRUCT.pack(*times, *codes, record.checked, record.warmup, self.shape(shape), *answer)

    def take(self) -> bytes:
        """All records as one block, after which the buffer is empty; b"" without a record."""
        if not self._rows:
            return b""
        block = self._pack(bytes(self._rows), tuple(self._signatures))
        self._rows.clear()
        return block

    def pack(self, rows: NDArray[Any], signatures: tuple[str, ...]) -> bytes:
        """A block of other records, a structured array of `ROW`; the buffer does not change."""
        return self._pack(np.ascontiguousarray(rows, ROW).tobytes(), signatures)

    def _pack(self, rows: bytes, signatures: tuple[str, ...]) -> bytes:
        header = orjson.dumps({"worker": self.worker, "sequence": self._sequence, "signatures": list(signatures)})
        self._sequence += 1
        crc = zlib.crc32(rows, zlib.crc32(header))
        return b"".join((_HEAD.pack(_MAGIC, FORMAT, len(header), len(rows), crc), header, rows))


Number = TypeVar("Number", int, float)


def _or(value: Number | None, absent: Number) -> Number:
    return absent if value is None else value


@dataclass(frozen=True)
class Block:
    """Records of one worker.

    Args:
        worker: which.
        sequence: how many blocks it sent before this one.
        signatures: what `signature` counts into.
        rows: the records, structured array of `ROW`.
    """

    worker: int
    sequence: int
    signatures: tuple[str, ...]
    rows: NDArray[Any] = field(repr=False)


class BlockSequence:
    """Which of a worker's blocks have come; its memory grows with the gaps between them, not with the blocks.

    Attributes:
        sent: one more than the largest sequence number that has come.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._gaps: list[range] = []

    @property
    def lost(self) -> int:
        """Blocks before the last one that have not come."""
        return sum(map(len, self._gaps))

    def __contains__(self, sequence: int) -> bool:
        """Whether the block of that number has come."""
        return sequence < self.sent and not any(sequence in gap for gap in self._gaps)

    def add(self, sequence: int) -> bool:
        """Takes the number of a block; False if that block has come before."""
        if sequence >= self.sent:
            if sequence > self.sent:
                self._gaps.append(range(self.sent, sequence))
            self.sent = sequence + 1
            return True
        for index, gap in enumerate(self._gaps):
            if sequence in gap:
                parts = (range(gap.start, sequence), range(sequence + 1, gap.stop))
                self._gaps[index : index + 1] = filter(None, parts)
                return True
        return False


class BlockError(UsageError):
    """Records that this version cannot read, or that contradict themselves."""


class DamagedBlock(BlockError):
    """No whole, undamaged block: what a write cut off by a kill leaves at the end of a file."""


def read_blocks(file: BinaryIO) -> Iterator[Block]:
    """The whole, undamaged blocks from the file's position on; ends at the first that is not.

    The file's position is then after the last complete block.

    Raises:
        BlockError: a newer format, or records that contradict themselves.
    """
    while True:
        offset = file.tell()
        try:
            block = _read_block(file, offset)
        except DamagedBlock:
            file.seek(offset)
            return
        if block is None:
            return
        yield block


def parse_block(data: bytes) -> Block:
    """The block that `data` is.

    Raises:
        BlockError: `data` is anything but one whole block, see `read_blocks`.
    """
    file = BytesIO(data)
    block = _read_block(file, 0)
    if block is None or file.read(1):
        raise DamagedBlock(f"{len(data)} bytes are not one record block; hand over what RecordBuffer.take() gave")
    return block


def _read_block(file: BinaryIO, offset: int) -> Block | None:
    head = file.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size or head[:4] != _MAGIC:
        raise DamagedBlock(f"no record block at byte {offset}; the file is cut off or no record file")
    _, version, header_size, rows_size, crc = _HEAD.unpack(head)
    if version != FORMAT:
        raise BlockError(f"the records have format {version}, this version reads {FORMAT}; update bertbench")
    if header_size + rows_size > _MOST_BYTES:
        raise DamagedBlock(f"the record block at byte {offset} is cut off or damaged")
    header, rows = file.read(header_size), file.read(rows_size)
    if len(rows) < rows_size or rows_size % ROW.itemsize or zlib.crc32(rows, zlib.crc32(header)) != crc:
        raise DamagedBlock(f"the record block at byte {offset} is cut off or damaged")
    worker, sequence, signatures = _read_header(header, offset)
    block = Block(worker, sequence, signatures, np.frombuffer(rows, ROW))
    _check_rows(block, offset)
    return block


def _read_header(header: bytes, offset: int) -> tuple[int, int, tuple[str, ...]]:
    """Worker, sequence and signatures."""
    try:
        raw: Any = orjson.loads(header)
        worker, sequence, signatures = raw["worker"], raw["sequence"], raw["signatures"]
        numbers = type(worker) is int and type(sequence) is int and 0 <= worker < MOST_WORKERS and sequence >= 0
        texts = isinstance(signatures, list) and all(isinstance(name, str) for name in signatures)
        if numbers and texts and len(signatures) <= MOST_SIGNATURES:
            return worker, sequence, tuple(signatures)
    except (orjson.JSONDecodeError, KeyError, TypeError):
        pass
    raise BlockError(f"the record block at byte {offset} has no valid header; restore the file or run again")


# By name, whether it may be absent.
_TIMES: Final = {"due": False, "sent": True, "done": True, "build": True, "parse": True}
_WRONG, _NOT_SENT = OUTCOME_CODES[Outcome.WRONG_ANSWER], OUTCOME_CODES[Outcome.DROPPED]
_CONTRADICTIONS: Final[tuple[tuple[str, tuple[str, ...], Callable[..., NDArray[np.bool_]]], ...]] = (
    ("an unknown outcome", ("outcome",), lambda outcome: outcome >= len(OUTCOME_CODES)),
    ("an unknown kind of wrong answer", ("wrong_kind",), lambda kind: kind >= len(WRONG_KIND_CODES)),
    ("an unknown protocol", ("protocol",), lambda protocol: protocol >= len(PROTOCOL_CODES)),
    (
        "a kind of wrong answer on an answer that is not wrong, or none on one that is",
        ("outcome", "wrong_kind"),
        lambda outcome, kind: (outcome == _WRONG) != (kind != 0),
    ),
    (
        "a dropped request that was sent, or one never sent that is not dropped",
        ("outcome", "sent"),
        lambda outcome, sent: (outcome == _NOT_SENT) != np.isnan(sent),
    ),
    (
        "a request sent and never done, or done and never sent",
        ("sent", "done"),
        lambda sent, done: np.isnan(sent) != np.isnan(done),
    ),
    ("a request done before it was sent", ("sent", "done"), lambda sent, done: done < sent),
)
"""What is wrong, the columns that show it, and in which records."""


def record_fault(columns: Mapping[str, NDArray[Any]]) -> str:
    """What is wrong with records, of which some columns are there; "" where nothing is.

    Every time is finite and from 0 to `MOST_SECONDS`, or absent where it may be, NaN. What `RequestRecord` checks holds
    too.
    """
    for name, optional in _TIMES.items():
        if name in columns:
            values = columns[name]
            good = (values >= 0) & (values <= MOST_SECONDS)
            if not (good | np.isnan(values) if optional else good).all():
                return f"a {name} time that is not from 0 to {MOST_SECONDS} s"
    for fault, names, wrong in _CONTRADICTIONS:
        if all(name in columns for name in names) and wrong(*(columns[name] for name in names)).any():
            return fault
    return ""


def _check_rows(block: Block, offset: int) -> None:
    """What `RequestRecord` checks, for a whole block."""
    rows = block.rows
    fault = record_fault({name: rows[name] for name in ROW.names or ()})
    if not fault and (rows["signature"] >= len(block.signatures)).any():
        fault = "an unknown signature"
    if fault:
        raise BlockError(f"the record block at byte {offset} holds {fault}; this is a defect of the writer")
