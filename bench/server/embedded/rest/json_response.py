"""Tensors to the body of a `:predict` answer, and results of classification and regression (json_tensor.cc).

The layout is RapidJSON's PrettyWriter's, as scripts search it: four blanks a level, except inside the rows of an answer
and inside results, where Serving has the writer put arrays on one line.
"""

import binascii
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import orjson

from bench.server.embedded.base.status import invalid_argument
from bench.server.embedded.rest.json_request import Layout
from bench.server.embedded.rest.json_writer import decimal, decimals, quoted
from bench.server.embedded.runtime.tensors import DT_STRING, Tensor, dtype_name
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


def predict_answer(outputs: Outputs, layout: Layout) -> bytes:
    """The body that gives `outputs`, of which there is one at least.

    Raises:
        StatusError: outputs that the layout cannot hold.
    """
    if layout is Layout.COLUMNAR:
        return b'{\n    "outputs": ' + _columns(outputs) + b"\n}"
    _check_rows(outputs)
    if len(outputs) == 1:
        # The writer is on one line while it adds an item, and off it again at the bracket.
        ((alias, tensor),) = outputs
        return b'{\n    "predictions": [' + b", ".join(_items(alias, tensor, 2, one_line=True)) + b"\n    ]\n}"
    names = [b"\n            %s: " % quoted(alias.encode()) for alias, _ in outputs]
    columns = [_items(alias, tensor, 3, one_line=True) for alias, tensor in outputs]
    rows = [
        b"{" + b",".join([name + item for name, item in zip(names, row, strict=True)]) + b"\n        }"
        for row in zip(*columns, strict=True)
    ]
    return b'{\n    "predictions": [\n        ' + b",\n        ".join(rows) + b"\n    ]\n}"


def _columns(outputs: Outputs) -> bytes:
    if len(outputs) == 1:
        return _whole(*outputs[0], depth=1)
    members = [b"\n        %s: %s" % (quoted(alias.encode()), _whole(alias, tensor, 2)) for alias, tensor in outputs]
    return b"{" + b",".join(members) + b"\n    }"


def _check_rows(outputs: Outputs) -> None:
    """Refuses outputs without the one first dimension that makes rows."""
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


def _whole(alias: str, tensor: Tensor, depth: int) -> bytes:
    """A tensor that stands inside `depth` containers, spread over lines."""
    if not tensor.shape:
        return _cells(alias, tensor, depth)[0]
    return _array(_items(alias, tensor, depth + 1, one_line=False), depth, one_line=False)


def _items(alias: str, tensor: Tensor, depth: int, one_line: bool) -> list[bytes]:
    """The items of a tensor's first dimension, which stand inside `depth` containers."""
    shape = tensor.shape
    items = _cells(alias, tensor, depth + len(shape) - 1)
    for axis in range(len(shape) - 1, 0, -1):
        width, count = shape[axis], math.prod(shape[:axis])
        items = [
            _array(items[place * width : (place + 1) * width], depth + axis - 1, one_line) for place in range(count)
        ]
    return items


def _array(items: Sequence[bytes], depth: int, one_line: bool) -> bytes:
    if one_line or not items:
        return b"[" + b", ".join(items) + b"]"
    inner = b"\n" + b"    " * (depth + 1)
    return b"[" + inner + (b"," + inner).join(items) + b"\n" + b"    " * depth + b"]"


def _cells(alias: str, tensor: Tensor, depth: int) -> list[bytes]:
    """The values' texts in their order, each standing inside `depth` containers."""
    values: Any = tensor.values
    if not tensor.size:
        return []
    if tensor.dtype not in _WRITABLE:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {dtype_name(tensor.dtype)}")
    if tensor.dtype == DT_STRING:
        if alias.endswith("_bytes"):
            indent = b"\n" + b"    " * depth
            form = b"{" + indent + b'    "b64": "%s"' + indent + b"}"
            return [form % binascii.b2a_base64(value, newline=False) for value in values]
        return [quoted(value) for value in values]
    if values.dtype.kind == "f":
        return decimals(values)
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")


def regression_answer(values: Sequence[float]) -> bytes:
    """The body of a `:regress` answer."""
    return b'{\n    "results": [' + b", ".join(decimals(np.array(values, np.float32))) + b"]\n}"


def classification_answer(results: Iterable[Iterable[tuple[bytes, float]]]) -> bytes:
    """The body of a `:classify` answer: for each example its classes, label and score."""
    examples = [
        b"[" + b", ".join(b"[%s, %s]" % (quoted(label), decimal(score)) for label, score in classes) + b"]"
        for classes in results
    ]
    return b'{\n    "results": [' + b", ".join(examples) + b"\n    ]\n}"
