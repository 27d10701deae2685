"""Converts numpy arrays to TensorProto and back, without TensorFlow."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.serving.messages import TensorProto, TensorShapeProto, data_type

# Numpy dtype and TensorProto's field for single values, by DataType.
_NUMERIC: Final[dict[int, tuple[np.dtype[Any], str]]] = {
    data_type("DT_FLOAT"): (np.dtype(np.float32), "float_val"),
    data_type("DT_DOUBLE"): (np.dtype(np.float64), "double_val"),
    data_type("DT_INT32"): (np.dtype(np.int32), "int_val"),
    data_type("DT_INT16"): (np.dtype(np.int16), "int_val"),
    data_type("DT_INT8"): (np.dtype(np.int8), "int_val"),
    data_type("DT_UINT8"): (np.dtype(np.uint8), "int_val"),
    data_type("DT_UINT16"): (np.dtype(np.uint16), "int_val"),
    data_type("DT_INT64"): (np.dtype(np.int64), "int64_val"),
    data_type("DT_UINT32"): (np.dtype(np.uint32), "uint32_val"),
    data_type("DT_UINT64"): (np.dtype(np.uint64), "uint64_val"),
    data_type("DT_BOOL"): (np.dtype(np.bool_), "bool_val"),
}
_ENUM: Final = {dtype: enum for enum, (dtype, _) in _NUMERIC.items()}
_STRING: Final = data_type("DT_STRING")
_FLOAT16: Final = data_type("DT_HALF")
# Tensors of a few bytes may say that they have any number of values. The answer to the largest batch of this suite has
# a sixth of so many.
_MAX_REPEATED: Final = 1 << 20
# A model of this suite has three.
_MAX_OUTPUTS: Final = 100
# As in TensorFlow (tensor_shape.h). A dimension takes a few bytes, and their product grows with each.
_MAX_RANK: Final = 254
_NARROW: Final = frozenset(
    enum for enum, (dtype, field) in _NUMERIC.items() if field == "int_val" and dtype.itemsize < np.dtype("i4").itemsize
)
# Values of two bytes; both come back as float32.
_HALF: Final = (_FLOAT16, data_type("DT_BFLOAT16"))


def to_proto(array: NDArray[Any]) -> Any:
    """The TensorProto of `array`; strings (`S`, `U` or `object` of bytes and str) become DT_STRING.

    Integers become varints: a token id has one to three bytes, instead of four in raw content.

    Raises:
        ValueError: Serving has no tensor type for the dtype.
    """
    array = np.asarray(array)
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in array.shape])
    if array.dtype.kind in "SUO":
        values = [value.encode() if isinstance(value, str) else bytes(value) for value in array.ravel().tolist()]
        return TensorProto(dtype=_STRING, tensor_shape=shape, string_val=values)
    enum = _ENUM.get(array.dtype)
    if enum is None:
        raise ValueError(f"no tensor type for numpy dtype {array.dtype}")
    if array.dtype.kind in "iu":
        field = _NUMERIC[enum][1]
        return TensorProto(dtype=enum, tensor_shape=shape, **{field: array.ravel().tolist()})
    return TensorProto(dtype=enum, tensor_shape=shape, tensor_content=array.tobytes())


def check_outputs(count: int) -> None:
    """Refuses an answer with more outputs than any model has, each of which costs more than its bytes.

    Raises:
        ValueError: there are more.
    """
    if count > _MAX_OUTPUTS:
        raise ValueError(f"{count:,} outputs, more than {_MAX_OUTPUTS}")


def outputs_from(protos: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The arrays of an answer's TensorProtos, by alias, see `from_proto`.

    Raises:
        ValueError: one of them is not valid, or they say that they have far more values than they hold.
    """
    check_outputs(len(protos))
    outputs, left = {}, _MAX_REPEATED
    for name, proto in protos.items():
        outputs[name], repeated = _unpacked(proto, left)
        left -= repeated
    return outputs


def from_proto(proto: Any) -> NDArray[Any]:
    """The array of a TensorProto. Half precision becomes float32, strings `object` of bytes.

    Values are in `tensor_content` or in the typed field; if there are fewer than the shape needs, the last one is
    repeated (`tensor.proto`), a million times at most.

    Raises:
        ValueError: the dtype is not supported, or the values do not match the shape or do not fit the dtype.
    """
    return _unpacked(proto, _MAX_REPEATED)[0]


def _unpacked(proto: Any, most: int) -> tuple[NDArray[Any], int]:
    """The array, and how often its last value was repeated, `most` times at most."""
    rank = len(proto.tensor_shape.dim)
    if rank > _MAX_RANK:
        raise ValueError(f"a tensor of {rank:,} dimensions, more than {_MAX_RANK}")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    size = math.prod(shape)
    if proto.tensor_shape.unknown_rank or any(dim < 0 for dim in shape):
        raise ValueError("a tensor of unknown shape")
    if proto.dtype == _STRING:
        flat = np.array([*proto.string_val, None], object)[:-1]
    elif proto.dtype in _HALF:
        flat = _half(proto)
    elif proto.dtype in _NUMERIC:
        dtype, field = _NUMERIC[proto.dtype]
        if proto.tensor_content:
            flat = np.frombuffer(proto.tensor_content, dtype)
        elif proto.dtype in _NARROW:
            flat = _narrowed(proto.int_val, dtype)
        else:
            flat = np.array(getattr(proto, field), dtype)
    else:
        raise ValueError(f"tensor type {proto.dtype} is not supported")
    missing = size - flat.size
    if missing == 0:
        return flat.reshape(shape), 0
    if missing < 0 or missing > most or proto.tensor_content or not flat.size:
        raise ValueError(f"a tensor of shape {shape} with {flat.size} values")
    return np.concatenate([flat, np.repeat(flat[-1:], missing)]).reshape(shape), missing


def _narrowed(values: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of a field of 32 bits in a smaller type."""
    wide = np.array(values, np.int32)
    narrow = wide.astype(dtype)
    if not np.array_equal(narrow, wide):
        raise ValueError(f"a value that is not {dtype}")
    return narrow


def _half(proto: Any) -> NDArray[Any]:
    content = proto.tensor_content
    bits = np.frombuffer(content, np.uint16) if content else _narrowed(proto.half_val, np.dtype(np.uint16))
    if proto.dtype == _FLOAT16:
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)
