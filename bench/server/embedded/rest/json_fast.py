"""The fast path for `:predict` bodies that are certainly valid: parsed by orjson, packed into arrays.

All other bodies give None, and `json_request` reads them: those on which the two parsers differ (repeated names,
escapes, NaN and Infinity) and those that Serving refuses. A number with more than 15 digits or an exponent is the
nearest double here; RapidJSON's may be its neighbour.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.server.embedded.rest.json_request import FLOATS, INTEGER_RANGES, Layout
from bench.server.embedded.runtime.tensors import DT_STRING, DTYPES, Tensor, packed
from bench.serving.protos import types_pb2

# RapidJSON refuses an exponent above 308 after a zero, and 309 digits with any exponent; both can be valid doubles.
_SUSPECTS: Final = (b"0e", b"0E", b"e-", b"E-")
_TOO_LARGE: Final = re.compile(rb"[eE]\+?0*[1-9][0-9]{2}|[0-9]{308}")
# Bytes of numbers and lists. The rest of a body of numbers is short and contains all its names and tokens.
_NUMERIC: Final = b"0123456789+-.,[] \t\r\n"
_KEYS: Final = (b'"instances"', b'"inputs"', b'"signature_name"')
# The C type with the range that Serving accepts for a type.
_C_TYPES: Final[dict[int, str]] = {
    **{dtype: "i" if low < 0 else "I" for dtype, (low, high) in INTEGER_RANGES.items()},
    types_pb2.DT_INT64: "q",
    types_pb2.DT_UINT64: "Q",
    **dict.fromkeys(FLOATS, "d"),
}
_MAX_DIMENSIONS: Final = 32


@dataclass(frozen=True, slots=True)
class FastBody:
    """A parsed body with exactly one of `instances` and `inputs`.

    Args:
        skeleton: its bytes without those of numbers and lists.
        layout: which of the two it has.
        value: the value of that member.
        signature: the signature's name; empty for the default.
        has_bools: whether it may contain `true` or `false`, which Python converts to numbers.
    """

    skeleton: bytes
    layout: Layout
    value: Any
    signature: str
    has_bools: bool


def read(body: bytes) -> FastBody | None:
    """The parsed body, or None for a body that the exact reader must read."""
    if b"\\" in body:
        return None
    skeleton = body.translate(None, _NUMERIC)
    if _has_exponents(skeleton) and any(suspect in body for suspect in _SUSPECTS) and _TOO_LARGE.search(body):
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    rows, columns, names = (skeleton.count(key) for key in _KEYS)
    if type(document) is not dict or rows + columns != 1 or names > 1:
        return None
    layout = Layout.ROW if rows else Layout.COLUMNAR
    value = document.get("instances" if rows else "inputs", document)
    signature = document.get("signature_name", "")
    if value is document or type(signature) is not str:
        return None
    return FastBody(skeleton, layout, value, signature, b"true" in skeleton or b"false" in skeleton)


def _has_exponents(skeleton: bytes) -> bool:
    """Whether there is an e outside strings."""
    return b"e" in b"".join(skeleton.split(b'"')[::2]).lower()


def predict_inputs(body: FastBody, inputs: Mapping[str, tuple[str, int]]) -> dict[str, Tensor] | None:
    """The tensors of a body, or None for a body that the exact reader must read.

    Args:
        body: the body.
        inputs: tensor name and DataType number by alias of the signature's inputs.
    """
    if "b64" in inputs:
        # An object with only this name is a base64 string, even where it could be a row.
        return None
    columns = _row_columns(body, inputs) if body.layout is Layout.ROW else _columns(body, inputs)
    if columns is None:
        return None
    tensors = {}
    for alias, (_, dtype) in inputs.items():
        tensor = _strings(columns[alias]) if dtype == DT_STRING else _numbers(columns[alias], dtype, body.has_bools)
        if tensor is None:
            return None
        tensors[alias] = tensor
    return tensors


def _row_columns(body: FastBody, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    rows = body.value
    if type(rows) is not list or not rows:
        return None
    if type(rows[0]) is not dict:
        # Later objects make an object array, which _numbers and _strings refuse.
        return {next(iter(inputs)): rows} if len(inputs) == 1 else None
    if not _each_once(body, inputs, len(rows)):
        return None
    try:
        return {alias: [row[alias] for row in rows] for alias in inputs}
    except (KeyError, TypeError, IndexError):
        return None


def _columns(body: FastBody, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    value = body.value
    if type(value) is not dict:
        return {next(iter(inputs)): value} if len(inputs) == 1 else None
    if not _each_once(body, inputs, 1) or any(alias not in value for alias in inputs):
        return None
    return value


def _each_once(body: FastBody, inputs: Mapping[str, Any], times: int) -> bool:
    """Whether each name occurs once per object in the body, and each object has as many members as inputs."""
    if body.layout is Layout.ROW and any(len(row) != len(inputs) for row in body.value if type(row) is dict):
        return False
    names = [b'"%s"' % alias.encode().translate(None, _NUMERIC) for alias in inputs]
    return all(body.skeleton.count(name) == times * names.count(name) for name in names)


def _numbers(value: Any, dtype: int, has_bools: bool) -> Tensor | None:
    known, found = DTYPES.get(dtype), _flattened(value)
    if known is None or found is None:
        return None
    shape, items = found
    if not items:
        return Tensor(dtype, shape, np.empty(0, known.array))
    values = _bools(items) if dtype == types_pb2.DT_BOOL else None if has_bools else _checked(items, dtype)
    if values is None:
        return None
    if dtype == types_pb2.DT_FLOAT:
        with np.errstate(over="ignore"):
            return Tensor(dtype, shape, values.astype(known.array))
    return Tensor(dtype, shape, values.astype(known.array, copy=False))


def _flattened(value: Any) -> tuple[tuple[int, ...], list[Any]] | None:
    """The shape of nested lists and their items; None for lists of unequal lengths or beside other items."""
    if type(value) is not list:
        return (), [value]
    shape, items = [len(value)], value
    while items and type(items[0]) is list:
        length = len(items[0])
        if len(shape) == _MAX_DIMENSIONS or set(map(type, items)) != {list} or set(map(len, items)) != {length}:
            return None
        shape.append(length)
        items = list(chain.from_iterable(items))
    return tuple(shape), items


def _bools(items: list[Any]) -> NDArray[Any] | None:
    return np.array(items) if set(map(type, items)) == {bool} else None


def _checked(items: list[Any], dtype: int) -> NDArray[Any] | None:
    """The values; None if Serving refuses any for this type. Bools pass for numbers."""
    code = _C_TYPES.get(dtype)
    if code is None:
        return None
    try:
        values = packed(items, code)
    except struct.error:
        return None
    return values if code != "d" or np.isfinite(values).all() else None


def _strings(value: Any) -> Tensor | None:
    """A flat list of strings; single strings, base64 and nested lists are left to the exact reader."""
    if type(value) is not list or not all(type(item) is str for item in value):
        return None
    return Tensor(DT_STRING, (len(value),), [item.encode() for item in value])
