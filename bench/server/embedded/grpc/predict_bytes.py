"""Messages of the Predict answer as bytes, written straight from arrays.

The generated messages would need a Python number for each value; here packed fields are the array's own bytes.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.server.embedded.runtime.session import varint
from bench.server.embedded.runtime.tensors import DT_STRING, DTYPES, Tensor
from bench.serving.protos import model_pb2, types_pb2

# Field numbers of TensorProto (tensor.proto).
_FIELDS: Final = {
    "float_val": 5,
    "double_val": 6,
    "int_val": 7,
    "string_val": 8,
    "scomplex_val": 9,
    "int64_val": 10,
    "bool_val": 11,
    "dcomplex_val": 12,
    "half_val": 13,
    "uint32_val": 16,
    "uint64_val": 17,
    "float8_val": 18,
}
_FIXED_WIDTH: Final = ("float_val", "double_val", "scomplex_val", "dcomplex_val", "bool_val", "float8_val")


def predict_response(outputs: Iterable[tuple[str, Tensor]], model_spec: bytes) -> bytes:
    """A serialized PredictResponse.

    Args:
        outputs: alias and tensor; values go into the typed field, not into tensor_content.
        model_spec: a serialized ModelSpec.
    """
    parts = []
    for alias, tensor in outputs:
        entry = field(1, alias.encode()) + field(2, tensor_message(tensor))
        parts.append(field(1, entry))
    parts.append(field(2, model_spec))
    return b"".join(parts)


def model_spec(name: str, version: int, signature: str) -> bytes:
    """A serialized ModelSpec."""
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    serialized: bytes = spec.SerializeToString()
    return serialized


def tensor_message(tensor: Tensor) -> bytes:
    """A serialized TensorProto, its values as Tensor::AsProtoField places them."""
    # An empty dimension is 0 long, which a message leaves out.
    dims = b"".join(field(2, b"\x08" + varint(size) if size else b"") for size in tensor.shape)
    head = b"\x08" + varint(tensor.dtype) + field(2, dims)
    if tensor.dtype == DT_STRING:
        return head + b"".join([field(_FIELDS["string_val"], value) for value in tensor.values])
    if not tensor.size:
        return head
    name = DTYPES[tensor.dtype].field
    values: Any = tensor.values
    if name in _FIXED_WIDTH:
        packed = values.tobytes()
    elif name == "half_val":
        packed = packed_varints(values.view(np.uint16))
    else:
        packed = packed_varints(values)
    return head + field(_FIELDS[name], packed)


def field(number: int, content: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def packed_varints(values: NDArray[Any]) -> bytes:
    """Whole numbers one after another, seven bits a byte; negative ones as 64 bits."""
    # Signed to 64 bits and read unsigned: two's complement, as the encoding wants it.
    wide = values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
    if not wide.size or wide.max() < 0x80:
        return wide.astype(np.uint8).tobytes()
    length = int(wide.max()).bit_length() // 7 + 1
    groups = wide[:, np.newaxis] >> np.arange(0, 7 * length, 7, dtype=np.uint64)
    there = groups != 0
    there[:, 0] = True
    more = np.zeros_like(there)
    more[:, :-1] = there[:, 1:]
    coded = (groups & np.uint64(0x7F)).astype(np.uint8) | (more.astype(np.uint8) << 7)
    return bytes(coded[there].tobytes())


# DT_BOOL's bytes are varints of 0 and 1 as they are.
assert DTYPES[types_pb2.DT_BOOL].array.itemsize == 1
