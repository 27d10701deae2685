"""Blocks of records: anything comes back, a cut loses the cut block alone, and a damage never passes."""

import math
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.results import blocks
from bench.results.blocks import BlockError, RecordBuffer, parse_block, read_blocks
from bench.results.records import Outcome, RequestRecord, WrongKind

WORKER = 3
SECONDS = st.floats(0, 1e6)
SIZES = st.none() | st.integers(0, blocks.NO_BYTES - 1)
COUNTS = st.integers(0, (1 << 32) - 1)
SHORT = st.none() | st.floats(0, 100, width=32)


@st.composite
def records(draw: st.DrawFn) -> RequestRecord:
    """A record that does not contradict itself."""
    outcome = draw(st.sampled_from(Outcome))
    sent = None if outcome is Outcome.DROPPED else draw(SECONDS)
    return RequestRecord(
        due=draw(SECONDS),
        sent=sent,
        done=None if sent is None else sent + draw(SECONDS),
        outcome=outcome,
        wrong_kind=draw(st.sampled_from(WrongKind)) if outcome is Outcome.WRONG_ANSWER else None,
        checked=draw(st.booleans()),
        protocol=draw(st.sampled_from(["rest", "grpc"])),
        signature=draw(st.sampled_from(["score", "serving_default", "für \"'\n"])),
        sentence=draw(COUNTS),
        sentences=draw(st.integers(0, (1 << 16) - 1)),
        words=draw(COUNTS),
        rows=draw(COUNTS),
        tokens=draw(COUNTS),
        bytes_out=draw(SIZES),
        bytes_in=draw(SIZES),
        build=draw(SHORT),
        parse=draw(SHORT),
        version=draw(st.none() | st.integers(0, (1 << 63) - 1)),
        worker=WORKER,
        warmup=draw(st.booleans()),
    )


def names(codes: dict[Any, int]) -> dict[int, Any]:
    """The names by their numbers."""
    return {code: name for name, code in codes.items()}


def as_record(block: blocks.Block, place: int) -> RequestRecord:
    """One row of a block as a record again."""
    row = {name: block.rows[name][place].item() for name in blocks.ROW.names or ()}
    row["outcome"] = names(blocks.OUTCOME_CODES)[row["outcome"]]
    row["wrong_kind"] = names(blocks.WRONG_KIND_CODES)[row["wrong_kind"]]
    row["protocol"] = names(blocks.PROTOCOL_CODES)[row["protocol"]]
    row["signature"] = block.signatures[row["signature"]]
    row["checked"], row["warmup"] = bool(row["checked"]), bool(row["warmup"])
    for name in ("sent", "done", "build", "parse"):
        row[name] = None if math.isnan(row[name]) else row[name]
    for name in ("bytes_out", "bytes_in"):
        row[name] = None if row[name] == blocks.NO_BYTES else row[name]
    row["version"] = None if row["version"] == blocks.NO_VERSION else row["version"]
    return RequestRecord(worker=block.worker, **row)


def blocks_of(parts: list[list[RequestRecord]]) -> list[bytes]:
    """A block of each part, from one worker."""
    buffer, blocks = RecordBuffer(WORKER), []
    for part in parts:
        for record in part:
            buffer.append_record(record)
        blocks.append(buffer.take())
    return blocks


PARTS = st.lists(st.lists(records(), min_size=1, max_size=4), min_size=1, max_size=3)


@given(PARTS)
def test_records_come_back_as_they_were(parts: list[list[RequestRecord]]) -> None:
    found = list(read_blocks(BytesIO(b"".join(blocks_of(parts)))))
    assert [(block.worker, block.sequence) for block in found] == [(WORKER, index) for index in range(len(parts))]
    assert [[as_record(block, place) for place in range(len(block.rows))] for block in found] == parts


@given(PARTS, st.floats(0, 1, exclude_max=True))
def test_a_cut_loses_the_blocks_behind_it_alone(parts: list[list[RequestRecord]], share: float) -> None:
    blocks = blocks_of(parts)
    data = b"".join(blocks)
    kept = int(len(data) * share)
    file = BytesIO(data[:kept])
    whole = sum(kept >= end for end in np.cumsum([len(block) for block in blocks]))
    assert len(list(read_blocks(file))) == whole
    assert file.tell() == sum(len(block) for block in blocks[:whole])


@given(records(), st.data())
def test_a_changed_byte_never_passes(record: RequestRecord, data: st.DataObject) -> None:
    block = bytearray(blocks_of([[record]])[0])
    at = data.draw(st.integers(0, len(block) - 1))
    block[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BlockError):
        parse_block(bytes(block))


@given(st.binary(max_size=80))
def test_bytes_that_are_no_block_are_refused(data: bytes) -> None:
    assert list(read_blocks(BytesIO(data))) == []
    with pytest.raises(BlockError):
        parse_block(data)
