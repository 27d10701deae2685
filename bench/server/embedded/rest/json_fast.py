"""The fast path for `:predict` bodies that are certainly valid: parsed by orjson, converted to arrays by numpy.

All other bodies give None, and `json_request` reads them: those on which the two parsers differ (repeated names,
escapes, NaN and Infinity) and those that Serving refuses. A number with more than 15 digits or an exponent is the
nearest double here; RapidJSON's may be its neighbour.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from bench.server.embedded.rest.json_request import FLOATS, INTEGER_RANGES, Layout
from bench.server.embedded.runtime.tensors import DT_STRING, DTYPES, Tensor
from bench.serving.protos import types_pb2

# RapidJSON refuses an exponent above 308 after a zero, and 309 digits with any exponent; both can be valid doubles.
_SUSPECTS: Final = (b"0e", b"0E", b"e-", b"E-")
_TOO_LARGE: Final = re.compile(rb"[eE]\+?0*[1-9][0-9]{2}|[0-9]{308}")
_KEYS: Final = (b'"instances"', b'"inputs"', b'"signature_name"')


@dataclass(frozen=True, slots=True)
class FastBody:
    """A parsed body with exactly one of `instances` and `inputs`.

    Args:
        raw: its bytes.
        layout: which of the two it has.
        value: the value of that member.
        signature: the signature's name; empty for the default.
        has_bools: whether it may contain `true` or `false`, which numpy converts to numbers.
    """

    raw: bytes
    layout: Layout
    value: Any
    signature: str
    has_bools: bool


def read(body: bytes) -> FastBody | None:
    """The parsed body, or None for a body that the exact reader must read."""
    if b"\\" in body or (any(suspect in body for suspect in _SUSPECTS) and _TOO_LARGE.search(body)):
        return None
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    rows, columns, names = (body.count(key) for key in _KEYS)
    if type(document) is not dict or rows + columns != 1 or names > 1:
        return None
    layout = Layout.ROW if rows else Layout.COLUMNAR
    value = document.get("instances" if rows else "inputs", document)
    signature = document.get("signature_name", "")
    if value is document or type(signature) is not str:
        return None
    return FastBody(body, layout, value, signature, b"true" in body or b"false" in body)


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
    return all(body.raw.count(b'"%s"' % alias.encode()) == times for alias in inputs)


def _numbers(value: Any, dtype: int, has_bools: bool) -> Tensor | None:
    known = DTYPES.get(dtype)
    try:
        array = np.array(value)
    except ValueError:
        return None
    if known is None or (array.size and not _fits(array, dtype, has_bools)):
        return None
    if array.dtype.kind != "f":
        return Tensor(dtype, array.shape, array.astype(known.array).ravel())
    with np.errstate(over="ignore"):
        return Tensor(dtype, array.shape, array.astype(known.array).ravel())


def _fits(array: Any, dtype: int, has_bools: bool) -> bool:
    """Whether Serving accepts every value for this type."""
    kind = array.dtype.kind
    if dtype == types_pb2.DT_BOOL:
        return bool(kind == "b")
    if has_bools:
        return False
    if dtype in FLOATS:
        return bool(kind in "if" and np.isfinite(array).all())
    low, high = INTEGER_RANGES.get(dtype, (1, 0))
    return bool(kind == "i" and low <= array.min() and array.max() <= high)


def _strings(value: Any) -> Tensor | None:
    """A flat list of strings; single strings, base64 and nested lists are left to the exact reader."""
    if type(value) is not list or not all(type(item) is str for item in value):
        return None
    return Tensor(DT_STRING, (len(value),), [item.encode() for item in value])
