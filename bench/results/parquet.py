"""Request records as an Arrow table: the columns of `requests.parquet`, and back to the codec's arrays.

`pandas.read_parquet("RUN/requests.parquet")` reads the file: one row a request, fields of `RequestRecord`, absent is
null. Rows stand in the order in which the load generator handed them over, about that of `done`.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.core.bounded_files import open_regular
from bench.core.errors import UsageError, naming
from bench.core.message_text import shown
from bench.core.output import to_utf8
from bench.results.blocks import (
    MOST_SIGNATURES,
    NO_BYTES,
    NO_VERSION,
    OUTCOME_CODES,
    PROTOCOL_CODES,
    ROW,
    WRONG_KIND_CODES,
    Block,
    record_fault,
)
from bench.results.records import RequestRecord

Columns = dict[str, NDArray[Any]]

_WORDS: Final = pa.dictionary(pa.int8(), pa.string())
_TYPES: Final = {
    "due": pa.float64(),
    "sent": pa.float64(),
    "done": pa.float64(),
    "outcome": _WORDS,
    "wrong_kind": _WORDS,
    "checked": pa.bool_(),
    "protocol": _WORDS,
    "signature": _WORDS,
    "sentence": pa.uint32(),
    "sentences": pa.uint16(),
    "words": pa.uint32(),
    "rows": pa.uint32(),
    "tokens": pa.uint32(),
    "bytes_out": pa.uint32(),
    "bytes_in": pa.uint32(),
    "build": pa.float32(),
    "parse": pa.float32(),
    "version": pa.int64(),
    "worker": pa.uint16(),
    "warmup": pa.bool_(),
}
SCHEMA: Final = pa.schema([(name, _TYPES[name]) for name in RequestRecord.__dataclass_fields__])
COLUMNS: Final = tuple(SCHEMA.names)

_CODES: Final[dict[str, dict[Any, int]]] = {
    "outcome": {str(name): code for name, code in OUTCOME_CODES.items()},
    "wrong_kind": {name and str(name): code for name, code in WRONG_KIND_CODES.items()},
    "protocol": dict(PROTOCOL_CODES),
}
_TIMES: Final = ("due", "sent", "done", "build", "parse")
_REPEATING: Final = ("sentence", "sentences", "words", "rows", "tokens", "bytes_out", "bytes_in", "version", "worker")
_NULLABLE: Final = frozenset({"sent", "done", "wrong_kind", "bytes_out", "bytes_in", "build", "parse", "version"})
# Rows of equal records compress well, but times hardly repeat.
_MOST_ROWS_A_BYTE: Final = 100
_NULLS: Final = {"bytes_out": NO_BYTES, "bytes_in": NO_BYTES, "version": NO_VERSION}


class SignatureTable:
    """Numbers for the signatures of a run, given out as they are met."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def code(self, name: str) -> int:
        """The number of `name`.

        Raises:
            UsageError: there are more than `MOST_SIGNATURES`.
        """
        if len(self._codes) >= MOST_SIGNATURES and name not in self._codes:
            raise UsageError(f"the records have more than {MOST_SIGNATURES} signatures; restore them or run again")
        return self._codes.setdefault(name, len(self._codes))

    @property
    def names(self) -> tuple[str, ...]:
        """Signatures met so far, by number."""
        return tuple(self._codes)


def block_columns(block: Block, names: Sequence[str], signatures: SignatureTable) -> Columns:
    """Columns of one block; `signature` counts into `signatures` afterwards."""
    columns: Columns = {}
    for name in names:
        if name == "worker":
            columns[name] = np.full(block.rows.size, block.worker, np.uint16)
        elif name == "signature":
            lookup = np.array([signatures.code(text) for text in block.signatures], np.uint8)
            columns[name] = lookup[block.rows[name]]
        elif name in ("checked", "warmup"):
            columns[name] = block.rows[name].astype(np.bool_)
        else:
            columns[name] = block.rows[name]
    return columns


def to_arrow(columns: Columns, signatures: Sequence[str]) -> pa.RecordBatch:
    """Columns (all of `COLUMNS`) as a batch of `SCHEMA`, with nulls for what is absent."""
    words = {
        "outcome": list(_CODES["outcome"]),
        "wrong_kind": [name for name in _CODES["wrong_kind"] if name is not None],
        "protocol": list(_CODES["protocol"]),
        "signature": list(signatures),
    }
    arrays = []
    for name in COLUMNS:
        values = columns[name]
        if name in words:
            codes, absent = values.astype(np.int8), None
            if name == "wrong_kind":
                codes, absent = codes - 1, codes == 0
            arrays.append(pa.DictionaryArray.from_arrays(_array(pa.int8(), codes, absent), _texts(words[name])))
        elif name in _NULLS:
            arrays.append(_array(_TYPES[name], values, values == _NULLS[name]))
        else:
            arrays.append(_array(_TYPES[name], values, np.isnan(values) if values.dtype.kind == "f" else None))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _array(kind: pa.DataType, values: NDArray[Any], absent: NDArray[np.bool_] | None = None) -> pa.Array:
    """Values as an array, null where they are absent.

    `pa.array` does it too, and imports pandas where that is installed: a third of a second of CPU in each run.
    """
    found = pa.from_numpy_dtype(values.dtype)
    data = np.packbits(values, bitorder="little") if pa.types.is_boolean(found) else np.ascontiguousarray(values)
    valid = None if absent is None or not absent.any() else pa.py_buffer(np.packbits(~absent, bitorder="little"))
    return pa.Array.from_buffers(found, values.size, [valid, pa.py_buffer(data)]).cast(kind)


def _texts(texts: Sequence[str]) -> pa.Array:
    """Texts as an array, see `_array`."""
    parts = [to_utf8(text) for text in texts]
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int32)
    return pa.Array.from_buffers(pa.string(), len(parts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(parts))])


class TableWriter:
    """Writes `requests.parquet`; the file gets its name only when all of it is on the disk.

    Args:
        path: where the file goes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(path.name + ".tmp")
        words = [name for name in COLUMNS if pa.types.is_dictionary(_TYPES[name])]
        # Times hardly repeat: a dictionary would only cost time; splitting their bytes lets them compress.
        with naming(path), contextlib.ExitStack() as opened:
            file = self._temporary
            self._writer = pq.ParquetWriter(
                file if _is_for_arrow(file) else opened.enter_context(file.open("wb")),
                SCHEMA,
                compression="zstd",
                compression_level=1,
                use_dictionary=[*words, *_REPEATING],
                column_encoding=dict.fromkeys(_TIMES, "BYTE_STREAM_SPLIT"),
            )
            self._opened = opened.pop_all()

    def write(self, columns: Columns, signatures: Sequence[str]) -> None:
        """Adds all of `COLUMNS` as one row group."""
        with naming(self._path):
            self._writer.write_batch(to_arrow(columns, signatures))

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        try:
            with naming(self._path):
                with self._opened:
                    self._writer.close()
                if kind is None:
                    with self._temporary.open("rb") as file:
                        os.fsync(file.fileno())
                    self._temporary.replace(self._path)
        finally:
            # Also on a full disk, where its bytes are those that are missing.
            with contextlib.suppress(OSError):
                self._temporary.unlink()


def _is_for_arrow(path: Path) -> bool:
    """Whether Arrow can open the file by its name: it refuses bytes that are not UTF-8."""
    return str(path).isprintable()


def concatenate(parts: Sequence[Columns]) -> Columns:
    """The columns of all parts, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def from_arrow(batch: pa.RecordBatch, signatures: SignatureTable) -> Columns:
    """The columns of a batch as the codec's arrays: numbers for words, NaN or the codec's number for null.

    Raises:
        UsageError: a column is of another type, or lacks a value, or has one that no record has.
    """
    columns: Columns = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if array.type != _TYPES[name] or (array.null_count and name not in _NULLABLE):
            raise UsageError(f"the column {name} is not that of a run")
        if pa.types.is_dictionary(array.type):
            texts = array.dictionary.to_pylist()
            if name != "signature" and (unknown := [text for text in texts if text not in _CODES[name]]):
                raise UsageError(f"the column {name} has {shown(str(unknown[0]))}")
            if not all(isinstance(text, str) for text in texts):
                raise UsageError(f"the column {name} is not that of a run")
            codes = [signatures.code(text) if name == "signature" else _CODES[name][text] for text in texts]
            # One entry more, for null: index -1 takes the last.
            lookup = np.array([*codes, 0], np.uint8)
            columns[name] = lookup[_values(array.indices, -1)]
        else:
            columns[name] = _values(array, _NULLS.get(name, np.nan))
    if fault := record_fault(columns):
        raise UsageError(fault)
    return columns


def _values(array: pa.Array, null: float) -> NDArray[Any]:
    """The values of an array, `null` for what is absent; without `to_numpy`, see `_array`."""
    if array.null_count:
        array = array.fill_null(_array(array.type, np.array([null]))[0])
    if pa.types.is_boolean(array.type):
        return np.from_dlpack(array.cast(pa.uint8())).astype(np.bool_)
    return np.from_dlpack(array)


def read_table(path: Path, names: Sequence[str], size: int, signatures: SignatureTable) -> Iterator[Columns]:
    """Columns of a Parquet file in pieces of at most `size` rows.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with open_regular(path) as plain, pq.ParquetFile(path if _is_for_arrow(path) else plain) as file:
            most = _MOST_ROWS_A_BYTE * os.fstat(plain.fileno()).st_size
            if file.metadata.num_rows > most:
                raise UsageError(f"{file.metadata.num_rows} rows in so small a file")
            for batch in file.iter_batches(batch_size=size, columns=list(names), use_threads=False):
                yield from_arrow(batch.select(list(names)), signatures)
    except (pa.ArrowException, OSError, UsageError, KeyError, ValueError) as error:
        line = " ".join(str(error).split())
        raise UsageError(f"{path} cannot be read ({line}); restore it or run again") from error


def empty_columns(names: Sequence[str]) -> Columns:
    """Columns without a row."""
    kinds = {name: ROW[name] for name in ROW.names or ()} | {
        "worker": np.dtype(np.uint16),
        "checked": np.dtype(np.bool_),
        "warmup": np.dtype(np.bool_),
    }
    return {name: np.empty(0, kinds[name]) for name in names}
