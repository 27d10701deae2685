"""Blocks of records: exact round trips, and what a cut or a damage leaves."""

import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from bench.results import blocks
from bench.results.blocks import BlockError, BlockSequence, DamagedBlock, RecordBuffer, parse_block, read_blocks
from bench.results.records import Ended, Outcome, RequestRecord, RequestShape, WrongKind
from bench.workload.workload import MOST_SENTENCES

RECORD = RequestRecord(
    due=1.5,
    sent=1.5001,
    done=1.75,
    outcome=Outcome.OK,
    wrong_kind=None,
    checked=True,
    protocol="grpc",
    signature="score",
    sentence=7,
    sentences=2,
    words=28,
    rows=2,
    tokens=33,
    bytes_out=700,
    bytes_in=600,
    build=2e-5,
    parse=1e-4,
    version=3,
    worker=4,
    warmup=False,
)
WRONG = replace(RECORD, outcome=Outcome.WRONG_ANSWER, wrong_kind=WrongKind.SWAP, protocol="rest", version=None)
DROPPED = replace(
    RECORD, outcome=Outcome.DROPPED, sent=None, done=None, bytes_out=None, bytes_in=None, build=None, parse=None
)


def block_of(*records: RequestRecord) -> bytes:
    buffer = RecordBuffer(worker=4)
    for record in records:
        buffer.append_record(record)
    return buffer.take()


def test_every_field_survives() -> None:
    block = parse_block(block_of(RECORD, WRONG, DROPPED, replace(RECORD, signature="serving_default", warmup=True)))
    assert (block.worker, block.sequence, block.signatures) == (4, 0, ("score", "serving_default"))
    rows = block.rows
    for name in ("due", "sent", "done", "sentence", "sentences", "words", "rows", "tokens", "bytes_out", "bytes_in"):
        assert rows[name][0] == getattr(RECORD, name), name
    np.testing.assert_allclose([rows["build"][0], rows["parse"][0]], [2e-5, 1e-4], rtol=1e-6)
    assert rows["outcome"].tolist() == [0, 1, 6, 0]
    assert rows["wrong_kind"].tolist() == [0, 2, 0, 0]
    assert rows["protocol"].tolist() == [1, 0, 1, 1]
    assert rows["signature"].tolist() == [0, 0, 0, 1]
    assert rows["warmup"].tolist() == [0, 0, 0, 1]
    assert rows["version"].tolist() == [3, blocks.NO_VERSION, 3, 3]
    for name in ("sent", "done", "build", "parse"):
        assert np.isnan(rows[name][2]), name
    assert rows["bytes_out"][2] == rows["bytes_in"][2] == blocks.NO_BYTES


def test_the_largest_counts_that_a_run_may_have_are_recorded() -> None:
    record = replace(RECORD, sentences=MOST_SENTENCES, bytes_in=blocks.NO_BYTES - 1)
    rows = parse_block(block_of(record)).rows
    assert (rows["sentences"][0], rows["bytes_in"][0]) == (MOST_SENTENCES, blocks.NO_BYTES - 1)


@pytest.mark.parametrize("record", [RECORD, WRONG, DROPPED, replace(RECORD, parse=None, checked=False, warmup=True)])
def test_what_became_of_a_prepared_request_makes_the_same_row(record: RequestRecord) -> None:
    # Nothing is left to build when a prepared request is sent.
    record = replace(record, build=None if record.sent is None else 0.0, checked=record.parse is not None)
    buffer = RecordBuffer(worker=4)
    shape = buffer.shape(RequestShape(*(getattr(record, name) for name in RequestShape._fields)))
    buffer.append(Ended(*(getattr(record, name) for name in Ended._fields)), shape, record.warmup)
    assert buffer.take() == block_of(record)


def test_every_name_has_a_number_of_its_own() -> None:
    assert set(blocks.OUTCOME_CODES) == set(Outcome)
    assert set(blocks.WRONG_KIND_CODES) == {None, *WrongKind}
    for codes in (blocks.OUTCOME_CODES, blocks.WRONG_KIND_CODES, blocks.PROTOCOL_CODES):
        assert sorted(codes.values()) == list(range(len(codes)))


def test_take_empties_and_counts_the_blocks() -> None:
    buffer = RecordBuffer(worker=4)
    assert buffer.take() == b""
    buffer.append_record(RECORD)
    assert len(buffer) == 1
    first = parse_block(buffer.take())
    assert len(buffer) == 0
    buffer.append_record(RECORD)
    assert (first.sequence, parse_block(buffer.take()).sequence) == (0, 1)


def test_a_record_of_another_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="worker 5"):
        RecordBuffer(worker=4).append_record(replace(RECORD, worker=5))


@pytest.mark.parametrize("cut", [1, 17, 18, 40, 100])
def test_a_file_cut_anywhere_gives_its_whole_blocks(cut: int) -> None:
    whole, last = block_of(RECORD, WRONG), block_of(RECORD)
    file = BytesIO(whole + whole + last[:-cut])
    assert [block.rows.size for block in read_blocks(file)] == [2, 2]
    assert file.tell() == 2 * len(whole)


@pytest.mark.parametrize("position", [0, 12, 20, -1])
def test_a_damaged_block_ends_the_reading(position: int) -> None:
    damaged = bytearray(block_of(RECORD))
    damaged[position] ^= 0x40
    assert [block.rows.size for block in read_blocks(BytesIO(block_of(WRONG) + damaged + block_of(RECORD)))] == [1]
    with pytest.raises(DamagedBlock):
        parse_block(bytes(damaged))


def test_a_newer_format_is_refused_and_not_taken_for_damage() -> None:
    newer = bytearray(block_of(RECORD))
    newer[4:6] = (blocks.FORMAT + 1).to_bytes(2, "little")
    with pytest.raises(BlockError, match="update bertbench"):
        list(read_blocks(BytesIO(newer)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"due": float("nan")}, "a due time"),
        ({"due": -1.0}, "a due time"),
        ({"done": None}, "never done"),
        ({"done": 1.0}, "before it was sent"),
    ],
)
def test_records_that_contradict_themselves_are_a_defect(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BlockError, match=message):
        parse_block(block_of(replace(RECORD, **change)))


def test_two_blocks_are_not_one() -> None:
    with pytest.raises(DamagedBlock):
        parse_block(block_of(RECORD) * 2)


def test_the_recording_side_loads_nothing_heavy() -> None:
    """A worker that records, and the process that writes the run, must stay small."""
    code = (
        "import sys, bench.results.blocks, bench.results.run_folder, bench.workload.workload\n"
        "import bench.results.environment\n"
        "print({'pyarrow', 'pandas', 'scipy', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_length_of_gigabytes_takes_no_memory() -> None:
    data = struct.pack("<4sHIII", b"BBRB", 1, 2**32 - 1, 2**32 - 1, 0) + b"rest"
    assert list(read_blocks(BytesIO(data))) == []
    with pytest.raises(DamagedBlock, match="cut off or damaged"):
        parse_block(data)


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"[]",
        b"{",
        b'{"worker": -1, "sequence": 0, "signatures": []}',
        b'{"worker": 0, "sequence": 0, "signatures": [1]}',
    ],
)
def test_a_header_of_another_kind(header: bytes) -> None:
    data = struct.pack("<4sHIII", b"BBRB", 1, len(header), 0, zlib.crc32(header)) + header
    with pytest.raises(BlockError, match="no valid header"):
        parse_block(data)


def test_the_sequence_knows_which_blocks_came_in_any_order() -> None:
    rng = np.random.default_rng(3)
    sequence, numbers = BlockSequence(), rng.permutation(200)
    for count, number in enumerate(numbers.tolist(), 1):
        assert sequence.add(number)
        assert sequence.sent == max(numbers[:count]) + 1
        assert sequence.lost == sequence.sent - count
        assert not any(sequence.add(again) for again in numbers[:count].tolist())
    assert (sequence.sent, sequence.lost, sequence._gaps) == (200, 0, [])


def test_the_sequence_grows_with_lost_blocks_only() -> None:
    sequence = BlockSequence()
    assert all(sequence.add(number) for number in range(100_000) if number % 50_000 != 7)
    assert (sequence.sent, sequence.lost, len(sequence._gaps)) == (100_000, 2, 2)
    # One far ahead leaves one gap.
    assert sequence.add(10**15)
    assert (sequence.lost, len(sequence._gaps)) == (10**15 - 100_000 + 2, 3)
