"""Tensors to the body of a `:predict` answer, and results of classification and regression (json_tensor.cc).

The text is compact where Serving's is spread over lines; both parse to the same.
"""

import binascii
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import orjson

from bench.server.embedded.json_request import Layout
from bench.server.embedded.json_writer import decimal, quoted
from bench.server.embedded.status import invalid_argument
from bench.server.embedded.tensors import DT_FLOAT, DT_STRING, Tensor, dtype_name
from bench.serving.protos import types_pb2

Outputs = Sequence[tuple[str, Tensor]]

# Types that have a form in JSON; Serving refuses to write others.
_WRITABLE: Final = {
    types_pb2.DT_FLOAT,
    types_pb2.DT_DOUBLE,
    types_pb2.DT_INT32,
    types_pb2.DT_INT16,
    types_pb2.DT_INT8,
    types_pb2.DT_UINT8,
    types_pb2.DT_STRING,
    types_pb2.DT_INT64,
    types_pb2.DT_BOOL,
    types_pb2.DT_UINT32,
    types_pb2.DT_UINT64,
}
_NUMPY_DIMENSIONS: Final = 32


def predict_answer(outputs: Outputs, layout: Layout) -> bytes:
    """The body that gives `outputs`, of which there is one at least.

    Raises:
        StatusError: outputs that the layout cannot hold.
    """
    rows = _batch_size(outputs) if layout is Layout.ROW else 0
    for _, tensor in outputs:
        if tensor.size and tensor.dtype not in _WRITABLE:
            raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype_name(tensor.dtype)}")
    if all(_is_plain(tensor) for _, tensor in outputs):
        value: Any = _rows(outputs, rows) if layout is Layout.ROW else _columns(outputs)
        return orjson.dumps({layout.value: value}, option=orjson.OPT_SERIALIZE_NUMPY)
    columns = {alias: _texts(tensor, alias.endswith("_bytes")) for alias, tensor in outputs}
    if layout is Layout.COLUMNAR:
        body = next(iter(columns.values())) if len(columns) == 1 else _object(columns.items())
        return b'{"outputs":' + _joined(body) + b"}"
    if len(columns) == 1:
        return b'{"predictions":' + _joined(next(iter(columns.values()))) + b"}"
    items = [_object((alias, cells[row]) for alias, cells in columns.items()) for row in range(rows)]
    return b'{"predictions":' + _joined(items) + b"}"


def _batch_size(outputs: Outputs) -> int:
    """The one first dimension of all outputs."""
    batch = 0
    for alias, tensor in outputs:
        if not tensor.shape:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        size = tensor.shape[0]
        if size < 1:
            raise invalid_argument(f"Tensor name: {alias} has invalid batch size: {size}")
        if batch not in (0, size):
            raise invalid_argument(f"Tensor name: {alias} has inconsistent batch size: {size} expecting: {batch}")
        batch = size
    return batch


def _is_plain(tensor: Tensor) -> bool:
    """Whether orjson writes it: an array that numpy can shape, all numbers finite."""
    if tensor.dtype == DT_STRING or len(tensor.shape) > _NUMPY_DIMENSIONS:
        return False
    values: Any = tensor.values
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _rows(outputs: Outputs, rows: int) -> Any:
    arrays = [(alias, tensor.values.reshape(tensor.shape)) for alias, tensor in outputs]  # type: ignore[union-attr]
    if len(arrays) == 1:
        return arrays[0][1]
    return [{alias: array[row] for alias, array in arrays} for row in range(rows)]


def _columns(outputs: Outputs) -> Any:
    arrays = {alias: tensor.values.reshape(tensor.shape) for alias, tensor in outputs}  # type: ignore[union-attr]
    # orjson writes no array of no dimensions; its one item it does.
    arrays = {alias: array if array.ndim else array[()] for alias, array in arrays.items()}
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def _texts(tensor: Tensor, as_bytes: bool) -> Any:
    """JSON texts of the values, in lists nested by the shape."""
    nested: Any = _cells(tensor, as_bytes)
    if not tensor.shape:
        return nested[0]
    for axis in range(len(tensor.shape) - 1, 0, -1):
        width = tensor.shape[axis]
        count = int(np.prod(tensor.shape[:axis], dtype=np.int64))
        nested = [nested[place * width : (place + 1) * width] for place in range(count)]
    return nested


def _cells(tensor: Tensor, as_bytes: bool) -> list[bytes]:
    values: Any = tensor.values
    if tensor.dtype == DT_STRING:
        if as_bytes:
            return [b'{"b64":"' + binascii.b2a_base64(value, newline=False) + b'"}' for value in values]
        return [quoted(value) for value in values]
    if values.dtype.kind == "f":
        double = tensor.dtype != DT_FLOAT
        return [decimal(value, double).encode() for value in values.tolist()]
    return [json.dumps(value).encode() for value in values.tolist()]


def _object(members: Iterable[tuple[str, Any]]) -> bytes:
    return b"{" + b",".join(quoted(alias.encode()) + b":" + _joined(value) for alias, value in members) + b"}"


def _joined(nested: Any) -> bytes:
    """Nested lists of texts as one text; levels with one item, of which there may be many, cost no recursion."""
    depth = 0
    while type(nested) is list and len(nested) == 1:
        depth += 1
        nested = nested[0]
    inner = nested if type(nested) is bytes else b"[" + b",".join(map(_joined, nested)) + b"]"
    return b"[" * depth + inner + b"]" * depth


def regression_answer(values: Sequence[float]) -> bytes:
    """The body of a `:regress` answer."""
    return b'{"results":[' + ",".join(map(decimal, values)).encode() + b"]}"


def classification_answer(results: Iterable[Iterable[tuple[bytes, float]]]) -> bytes:
    """The body of a `:classify` answer: for each example its classes, label and score."""
    examples = [
        b"[" + b",".join(b"[%s,%s]" % (quoted(label), decimal(score).encode()) for label, score in classes) + b"]"
        for classes in results
    ]
    return b'{"results":[' + b",".join(examples) + b"]}"
