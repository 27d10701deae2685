"""Converts numpy arrays to TensorProto and back, without TensorFlow."""

import math
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
# A tensor of a few bytes may say that it has any number of values.
_MAX_REPEATED: Final = 1 << 24
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


def from_proto(proto: Any) -> NDArray[Any]:
    """The array of a TensorProto. Half precision becomes float32, strings `object` of bytes.

    Values are in `tensor_content` or in the typed field; if there are fewer than the shape needs, the last one is
    repeated (`tensor.proto`).

    Raises:
        ValueError: the dtype is not supported, or the values do not match the shape.
    """
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
        flat = (
            np.frombuffer(proto.tensor_content, dtype)
            if proto.tensor_content
            else np.array(getattr(proto, field), dtype)
        )
    else:
        raise ValueError(f"tensor type {proto.dtype} is not supported")
    if flat.size > size or (flat.size < size and (proto.tensor_content or not flat.size)):
        raise ValueError(f"a tensor of shape {shape} with {flat.size} values")
    if flat.size < size:
        if size > _MAX_REPEATED:
            raise ValueError(f"a tensor of shape {shape} with {flat.size} values")
        flat = np.concatenate([flat, np.repeat(flat[-1:], size - flat.size)])
    return flat.reshape(shape)


def _half(proto: Any) -> NDArray[Any]:
    bits = (
        np.frombuffer(proto.tensor_content, np.uint16) if proto.tensor_content else np.array(proto.half_val, np.uint16)
    )
    if proto.dtype == _FLOAT16:
        return bits.view(np.float16).astype(np.float32)
    return (bits.astype(np.uint32) << 16).view(np.float32)
