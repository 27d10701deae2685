"""Tensors between the endpoints and the runtime, and their conversion from TensorProto.

Values are one-dimensional, beside their shape: TensorFlow's tensors have up to 254 dimensions, numpy's arrays 32.
"""

import math
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.server.embedded.base.limits import INT64_MAX
from bench.server.embedded.base.status import Code, StatusError
from bench.serving.protos import types_pb2

DT_STRING: Final = int(types_pb2.DT_STRING)
DT_FLOAT: Final = int(types_pb2.DT_FLOAT)
MAX_DIMENSIONS: Final = 254
# Bytes that a string takes beside its own: a pointer here, 24 in the runtime.
_STRING_BYTES: Final = 32
# Values that are converted at once: Python's lock is held meanwhile, and each takes some 20 bytes beside its own.
_PIECE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class DType:
    """One of TensorFlow's element types.

    Args:
        name: its name in messages (DataTypeString).
        array: the numpy type of the same bytes; an integer type of the same size where numpy has none.
        field: TensorProto's field for single values.
    """

    name: str
    array: "np.dtype[Any]"
    field: str


def _numeric(name: str, array: Any, field: str) -> DType:
    return DType(name, np.dtype(array), field)


DTYPES: Final[dict[int, DType]] = {
    types_pb2.DT_FLOAT: _numeric("float", np.float32, "float_val"),
    types_pb2.DT_DOUBLE: _numeric("double", np.float64, "double_val"),
    types_pb2.DT_INT32: _numeric("int32", np.int32, "int_val"),
    types_pb2.DT_UINT8: _numeric("uint8", np.uint8, "int_val"),
    types_pb2.DT_INT16: _numeric("int16", np.int16, "int_val"),
    types_pb2.DT_INT8: _numeric("int8", np.int8, "int_val"),
    types_pb2.DT_COMPLEX64: _numeric("complex64", np.complex64, "scomplex_val"),
    types_pb2.DT_INT64: _numeric("int64", np.int64, "int64_val"),
    types_pb2.DT_BOOL: _numeric("bool", np.bool_, "bool_val"),
    types_pb2.DT_QINT8: _numeric("qint8", np.int8, "int_val"),
    types_pb2.DT_QUINT8: _numeric("quint8", np.uint8, "int_val"),
    types_pb2.DT_QINT32: _numeric("qint32", np.int32, "int_val"),
    types_pb2.DT_BFLOAT16: _numeric("bfloat16", np.uint16, "half_val"),
    types_pb2.DT_QINT16: _numeric("qint16", np.int16, "int_val"),
    types_pb2.DT_QUINT16: _numeric("quint16", np.uint16, "int_val"),
    types_pb2.DT_UINT16: _numeric("uint16", np.uint16, "int_val"),
    types_pb2.DT_COMPLEX128: _numeric("complex128", np.complex128, "dcomplex_val"),
    types_pb2.DT_HALF: _numeric("half", np.float16, "half_val"),
    types_pb2.DT_UINT32: _numeric("uint32", np.uint32, "uint32_val"),
    types_pb2.DT_UINT64: _numeric("uint64", np.uint64, "uint64_val"),
    types_pb2.DT_FLOAT8_E5M2: _numeric("float8_e5m2", np.uint8, "float8_val"),
    types_pb2.DT_FLOAT8_E4M3FN: _numeric("float8_e4m3fn", np.uint8, "float8_val"),
    types_pb2.DT_INT4: _numeric("int4", np.int8, "int_val"),
    types_pb2.DT_UINT4: _numeric("uint4", np.uint8, "int_val"),
}


def dtype_name(dtype: int) -> str:
    """TensorFlow's name of a type in messages: `float`, `int32`, `string`."""
    if dtype == DT_STRING:
        return "string"
    known = DTYPES.get(dtype)
    return known.name if known else str(types_pb2.DataType.Name(dtype)).removeprefix("DT_").lower()


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape in messages: `[2,3]`."""
    return f"[{','.join(map(str, shape))}]"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A dense tensor.

    Args:
        dtype: DataType's number.
        shape: non-negative dimensions.
        values: one-dimensional, in row-major order; a list of bytes for DT_STRING.
    """

    dtype: int
    shape: tuple[int, ...]
    values: "NDArray[Any] | list[bytes]"

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.values)


def from_proto(proto: Any, max_fill: int) -> Tensor | None:
    """The tensor of a TensorProto by the rules of Tensor::FromProto (tensor.cc); None where that fails.

    Content of the wrong size is refused. Of single values, missing ones repeat the last one, or are zero if there is
    none, and surplus ones are dropped. `unknown_rank` is ignored.

    Args:
        proto: the message.
        max_fill: bytes of the largest tensor with missing values, since a few bytes can declare any number of them; of
            an empty one the product of its other dimensions.

    Raises:
        StatusError: RESOURCE_EXHAUSTED for a larger one.
    """
    dims = proto.tensor_shape.dim
    if len(dims) > MAX_DIMENSIONS:
        return None
    shape = tuple([dim.size for dim in dims])
    size = _size(shape)
    if size is None:
        return None
    if not size:
        # A model may multiply the other dimensions, and the runtime ends the process where a product exceeds 64 bits.
        check_fill(1, math.prod([max(dimension, 1) for dimension in shape]), max_fill)
    try:
        values = _strings(proto, size, max_fill) if proto.dtype == DT_STRING else _numbers(proto, size, max_fill)
    except MemoryError:
        return None
    return None if values is None else Tensor(proto.dtype, shape, values)


def check_fill(missing: int, length: int, max_fill: int) -> None:
    """Refuses a large tensor with values that are not in its request.

    Args:
        missing: how many are not.
        length: bytes of the tensor.
        max_fill: bytes of the largest one.

    Raises:
        StatusError: RESOURCE_EXHAUSTED.
    """
    if missing > 0 and length > max_fill:
        raise StatusError(
            Code.RESOURCE_EXHAUSTED,
            f"a tensor of {length} bytes, most of which are not in the request, is larger than max_fill_bytes "
            f"({max_fill})",
        )


def _size(shape: tuple[int, ...]) -> int | None:
    """The number of elements; None for a shape that TensorShape::IsValid refuses.

    The product must not exceed 64 bits at any dimension, even before a dimension of 0: the runtime aborts the process
    at such a shape.
    """
    size = 1
    for dimension in shape:
        size *= dimension
        if dimension < 0 or size > INT64_MAX:
            return None
    return size if len(shape) <= MAX_DIMENSIONS else None


def _numbers(proto: Any, size: int, max_fill: int) -> NDArray[Any] | None:
    known = DTYPES.get(proto.dtype)
    if known is None:
        return None
    length = size * known.array.itemsize
    content = proto.tensor_content
    if content and size:
        return np.frombuffer(content, known.array) if len(content) == length else None
    if length > INT64_MAX:
        return None
    values = _single_values(proto, known, size)
    check_fill(size - len(values), length, max_fill)
    return filled(values, size)


def _single_values(proto: Any, known: DType, size: int) -> NDArray[Any]:
    """At most `size` of the single values; surplus ones are not even converted, since they cost a client little."""
    field = getattr(proto, known.field)
    if known.array.kind == "c":
        size *= 2
    if len(field) <= _PIECE:
        return _converted(field[:size], known)
    size = min(size, len(field))
    pieces = [_converted(field[begin : min(begin + _PIECE, size)], known) for begin in range(0, size, _PIECE)]
    return np.concatenate(pieces) if pieces else np.empty(0, known.array)


def _converted(field: Any, known: DType) -> NDArray[Any]:
    """Values of a field, as a list: reading a message's own sequence element by element takes three times as long."""
    if known.array.kind == "c":
        part = np.float32 if known.array.itemsize == 8 else np.float64
        # A complex value is two numbers in the field; a single last number is ignored.
        return np.array(field[: len(field) // 2 * 2], part).view(known.array)
    if known.field == "float8_val":
        return np.frombuffer(field, known.array)
    if known.field == "half_val":
        return np.array(field, np.uint32).astype(np.uint16).view(known.array)
    if known.field == "int_val":
        return packed(field, "i").astype(known.array, copy=False)
    return packed(field, known.array.char)


def packed(values: list[Any], code: str) -> NDArray[Any]:
    """Python numbers as an array, at a third of what numpy takes.

    Args:
        values: the numbers.
        code: their C type, by the letter that it has in struct and numpy.

    Raises:
        struct.error: a value of another type, or out of range. A bool passes for a number.
    """
    if len(values) > _PIECE:
        return np.concatenate([packed(values[at : at + _PIECE], code) for at in range(0, len(values), _PIECE)])
    return np.frombuffer(struct.pack(f"{len(values)}{code}", *values), code)


def filled(values: NDArray[Any], size: int) -> NDArray[Any]:
    """Exactly `size` values: truncated, or extended by repeating the last one."""
    if len(values) >= size:
        return values[:size]
    longer = np.zeros(size, values.dtype)
    if len(values):
        longer[: len(values)] = values
        longer[len(values) :] = values[-1]
    return longer


def _strings(proto: Any, size: int, max_fill: int) -> list[bytes] | None:
    if proto.tensor_content and size:
        return _decode_string_list(proto.tensor_content, size)
    check_fill(size - len(proto.string_val), size * _STRING_BYTES, max_fill)
    strings = list(proto.string_val[:size])
    return strings + (strings[-1:] or [b""]) * (size - len(strings))


def _decode_string_list(content: bytes, size: int) -> list[bytes] | None:
    """Decodes `size` varint lengths followed by the strings (port::DecodeStringList)."""
    lengths, at = [], 0
    for _ in range(size):
        value = shift = 0
        while True:
            if at >= len(content) or shift > 28:
                return None
            byte = content[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(value)
    if at + sum(lengths) != len(content):
        return None
    strings = []
    for length in lengths:
        strings.append(content[at : at + length])
        at += length
    return strings
