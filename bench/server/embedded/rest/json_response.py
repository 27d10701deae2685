"""Tensors to the body of a `:predict` answer, and results of classification and regression (json_tensor.cc).

The layout is RapidJSON's PrettyWriter's, as scripts search it: four blanks a level, except inside the rows of an answer
and inside results, where Serving has the writer put arrays on one line.
"""

import binascii
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from bench.server.embedded.base.status import invalid_argument
from bench.server.embedded.rest.json_decimals import MANY, decimal, decimals, rows
from bench.server.embedded.rest.json_request import Layout
from bench.server.embedded.rest.json_writer import quoted
from bench.server.embedded.runtime.tensors import DT_FLOAT, DT_STRING, Tensor, dtype_name
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


class _Output(NamedTuple):
    """An output and, of many floats, the texts of its innermost rows."""

    alias: str
    tensor: Tensor
    rows: list[bytes] | None


def predict_answer(outputs: Outputs, layout: Layout) -> bytes:
    """The body that gives `outputs`, of which there is one at least.

    Raises:
        StatusError: outputs that the layout cannot hold.
    """
    if layout is Layout.COLUMNAR:
        return b'{\n    "outputs": ' + _columns(_with_rows(outputs)) + b"\n}"
    _check_rows(outputs)
    if len(outputs) == 1:
        # The writer is on one line while it adds an item, and off it again at the bracket.
        (output,) = _with_rows(outputs)
        return b'{\n    "predictions": [' + b", ".join(_items(output, 2, one_line=True)) + b"\n    ]\n}"
    names = [b"\n            %s: " % quoted(alias.encode()) for alias, _ in outputs]
    columns = [_items(output, 3, one_line=True) for output in _with_rows(outputs)]
    objects = [
        b"{" + b",".join([name + item for name, item in zip(names, row, strict=True)]) + b"\n        }"
        for row in zip(*columns, strict=True)
    ]
    return b'{\n    "predictions": [\n        ' + b",\n        ".join(objects) + b"\n    ]\n}"


def _with_rows(outputs: Outputs) -> list[_Output]:
    """The outputs; their floats, if they are many, are written together."""
    floats = [(alias, tensor) for alias, tensor in outputs if tensor.dtype == DT_FLOAT and tensor.shape and tensor.size]
    written: dict[str, list[bytes]] = {}
    if sum([tensor.size for _, tensor in floats]) >= MANY:
        arrays: list[Any] = [(tensor.values, tensor.shape[-1]) for _, tensor in floats]
        written = dict(zip([alias for alias, _ in floats], rows(arrays), strict=True))
    return [_Output(alias, tensor, written.get(alias)) for alias, tensor in outputs]


def _columns(outputs: Sequence[_Output]) -> bytes:
    if len(outputs) == 1:
        return _whole(outputs[0], depth=1)
    members = [b"\n        %s: %s" % (quoted(output.alias.encode()), _whole(output, 2)) for output in outputs]
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


def _whole(output: _Output, depth: int) -> bytes:
    """A tensor that stands inside `depth` containers, spread over lines."""
    if not output.tensor.shape:
        return _cells(output.alias, output.tensor, depth)[0]
    return _array(_items(output, depth + 1, one_line=False), depth, one_line=False)


def _items(output: _Output, depth: int, one_line: bool) -> list[bytes]:
    """The items of a tensor's first dimension, which stand inside `depth` containers."""
    shape = output.tensor.shape
    inner = len(shape) - 1
    if output.rows is None:
        items = _cells(output.alias, output.tensor, depth + inner)
    elif not inner:
        return output.rows[0].split(b",")
    else:
        inner -= 1
        opening, separator, closing = _brackets(depth + inner, one_line)
        items = [opening + row.replace(b",", separator) + closing for row in output.rows]
    for axis in range(inner, 0, -1):
        width, count = shape[axis], math.prod(shape[:axis])
        items = [
            _array(items[place * width : (place + 1) * width], depth + axis - 1, one_line) for place in range(count)
        ]
    return items


def _array(items: Sequence[bytes], depth: int, one_line: bool) -> bytes:
    opening, separator, closing = _brackets(depth, one_line or not items)
    return opening + separator.join(items) + closing


def _brackets(depth: int, one_line: bool) -> tuple[bytes, bytes, bytes]:
    """What stands before, between and after the items of an array inside `depth` containers."""
    if one_line:
        return b"[", b", ", b"]"
    inner = b"\n" + b"    " * (depth + 1)
    return b"[" + inner, b"," + inner, b"\n" + b"    " * depth + b"]"


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
