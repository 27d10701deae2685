"""TensorProto in by Tensor::FromProto's rules, and out by Tensor::AsProtoField's."""

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest

from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.grpc.predict_bytes import model_spec, packed_varints, predict_response, tensor_message
from bench.server.embedded.runtime.tensors import DT_STRING, DTYPES, Tensor, from_proto, packed
from bench.serving.protos import predict_pb2, tensor_pb2, types_pb2

MAX_FILL = 1 << 20


def proto(dtype: int, *sizes: int, **fields: Any) -> Any:
    message = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in sizes:
        message.tensor_shape.dim.add(size=size)
    return message


@pytest.mark.parametrize(
    ("message", "values"),
    [
        (proto(types_pb2.DT_FLOAT, 2, tensor_content=np.array([1, 2], np.float32).tobytes()), [1, 2]),
        (proto(types_pb2.DT_FLOAT, 4, float_val=[2]), [2, 2, 2, 2]),
        (proto(types_pb2.DT_FLOAT, 4, float_val=[1, 2]), [1, 2, 2, 2]),
        (proto(types_pb2.DT_FLOAT, 3), [0, 0, 0]),
        (proto(types_pb2.DT_FLOAT, 1, float_val=[1, 2]), [1]),
        (proto(types_pb2.DT_FLOAT, 0, float_val=[1]), []),
        (proto(types_pb2.DT_FLOAT, 0, tensor_content=b"123"), []),
        (proto(types_pb2.DT_FLOAT, 0, 1 << 16, 4), []),
        (proto(types_pb2.DT_FLOAT, float_val=[7]), [7]),
        (proto(types_pb2.DT_INT8, 2, int_val=[300, -1]), [44, -1]),
        (proto(types_pb2.DT_HALF, 1, half_val=[0x3C00]), [1]),
        (proto(types_pb2.DT_COMPLEX64, 1, scomplex_val=[1, 2]), [1 + 2j]),
        (proto(types_pb2.DT_BOOL, 2, bool_val=[True, False]), [True, False]),
        (proto(DT_STRING, 2, string_val=[b"a"]), [b"a", b"a"]),
        (proto(DT_STRING, 2), [b"", b""]),
        (proto(DT_STRING, 2, tensor_content=b"\x01\x02abb"), [b"a", b"bb"]),
    ],
)
def test_values(message: Any, values: list[Any]) -> None:
    tensor = from_proto(message, MAX_FILL)
    assert tensor is not None
    assert list(tensor.values) == values
    assert tensor.shape == tuple(dim.size for dim in message.tensor_shape.dim)


MANY = 200_001
NUMBERS = np.arange(MANY) % 100


@pytest.mark.parametrize(
    ("dtype", "field", "parts"),
    [
        (types_pb2.DT_INT32, "int_val", 1),
        (types_pb2.DT_FLOAT, "float_val", 1),
        (types_pb2.DT_HALF, "half_val", 1),
        (types_pb2.DT_COMPLEX64, "scomplex_val", 2),
        (types_pb2.DT_FLOAT8_E5M2, "float8_val", 1),
    ],
)
def test_many_values(dtype: int, field: str, parts: int) -> None:
    numbers = NUMBERS.astype(np.uint8).tobytes() if field == "float8_val" else NUMBERS.tolist()
    whole, cut = (from_proto(proto(dtype, size, **{field: numbers}), MAX_FILL) for size in (MANY // parts, 70_000))
    array = DTYPES[dtype].array
    raw = NUMBERS.astype(np.uint16 if field == "half_val" else np.uint8 if field == "float8_val" else np.float32)
    expected = raw[: MANY // parts * parts].view(array) if dtype != types_pb2.DT_INT32 else NUMBERS
    assert whole is not None
    assert cut is not None
    np.testing.assert_array_equal(whole.values, expected)
    np.testing.assert_array_equal(cut.values, expected[:70_000])


@pytest.mark.parametrize(("size", "most"), [(1, 10_000), (0, 10_000), (1_000_000, 14_000_000)])
def test_values_cost_little_more_than_their_array(size: int, most: int) -> None:
    """Surplus values, of which gzip makes a thousandth, are not converted."""
    message = proto(types_pb2.DT_INT32, size, int_val=bytes(1_000_000))
    tracemalloc.start()
    try:
        tensor = from_proto(message, MAX_FILL)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tensor is not None
    assert tensor.size == size
    assert peak < most


def test_numbers_are_packed_in_pieces() -> None:
    numbers = NUMBERS.tolist()
    np.testing.assert_array_equal(packed(numbers, "i"), NUMBERS)
    tracemalloc.start()
    try:
        packed(numbers, "i")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * MANY
    with pytest.raises(struct.error):
        packed([*numbers, 2**31], "i")


def test_an_unknown_rank_is_not_looked_at() -> None:
    message = proto(types_pb2.DT_FLOAT, 2, float_val=[1, 2])
    message.tensor_shape.unknown_rank = True
    assert from_proto(message, MAX_FILL) is not None


@pytest.mark.parametrize(
    "message",
    [
        proto(types_pb2.DT_FLOAT, 2, tensor_content=b"1234567"),
        proto(types_pb2.DT_FLOAT, -1, float_val=[1]),
        proto(types_pb2.DT_FLOAT, 1 << 40, 1 << 40),
        proto(types_pb2.DT_FLOAT, 1 << 62, 4, 0),
        proto(types_pb2.DT_FLOAT, (1 << 63) - 1),
        proto(types_pb2.DT_FLOAT, *[1] * 255),
        proto(types_pb2.DT_INVALID, 1),
        proto(types_pb2.DT_RESOURCE, 1),
        proto(DT_STRING, 2, tensor_content=b"\x01\x02ab"),
        proto(DT_STRING, 1, tensor_content=b"\xff"),
    ],
)
def test_what_is_no_tensor(message: Any) -> None:
    assert from_proto(message, MAX_FILL) is None


@pytest.mark.parametrize(
    "message",
    [
        proto(types_pb2.DT_FLOAT, 1 << 60),
        proto(types_pb2.DT_FLOAT, MAX_FILL // 4 + 1, float_val=[1]),
        proto(DT_STRING, (1 << 63) - 1),
        proto(DT_STRING, 1 << 60, string_val=[b"a"]),
        proto(DT_STRING, MAX_FILL // 32 + 1),
        # The runtime may abort where a model multiplies these dimensions.
        proto(types_pb2.DT_FLOAT, 1 << 62, 0),
        proto(types_pb2.DT_INT32, 0, MAX_FILL + 1),
    ],
)
def test_a_few_bytes_declare_no_large_tensor(message: Any) -> None:
    with pytest.raises(StatusError, match="larger than max_fill_bytes") as caught:
        from_proto(message, MAX_FILL)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "message",
    [
        proto(types_pb2.DT_FLOAT, MAX_FILL // 4, float_val=[1]),
        # All of it is in the request.
        proto(types_pb2.DT_UINT8, MAX_FILL + 1, tensor_content=bytes(MAX_FILL + 1)),
        proto(DT_STRING, MAX_FILL // 32),
        proto(types_pb2.DT_FLOAT, 0, MAX_FILL),
    ],
)
def test_a_tensor_up_to_the_limit(message: Any) -> None:
    tensor = from_proto(message, MAX_FILL)
    assert tensor is not None
    assert tensor.size == tensor.shape[0]


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3)])
@pytest.mark.parametrize("dtype", [*DTYPES, DT_STRING])
def test_what_goes_out_comes_back(dtype: int, shape: tuple[int, ...]) -> None:
    size = int(np.prod(shape))
    values: Any
    if dtype == DT_STRING:
        values = [b"\xff" * place for place in range(size)]
    else:
        kind = DTYPES[dtype].array
        raw = np.random.default_rng(dtype).integers(0, 256, size * kind.itemsize, np.uint8)
        values = (raw & 1 if kind.kind == "b" else raw).view(kind)
    message = tensor_pb2.TensorProto.FromString(tensor_message(Tensor(dtype, shape, values)))
    back = from_proto(message, MAX_FILL)
    assert back is not None
    assert not message.tensor_content
    assert (back.dtype, back.shape) == (dtype, shape)
    assert back.values == values if dtype == DT_STRING else back.values.tobytes() == values.tobytes()  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**14, 2**31 - 1, -1, -(2**31), 2**63 - 1, -(2**63)])
def test_varints_are_those_of_the_generated_messages(value: int) -> None:
    expected = tensor_pb2.TensorProto(int64_val=[value, 5, value]).SerializeToString()
    packed = packed_varints(np.array([value, 5, value], np.int64))
    assert expected.endswith(packed)
    assert len(expected) - len(packed) == 2


def test_a_whole_answer() -> None:
    tensor = Tensor(types_pb2.DT_FLOAT, (2,), np.array([1, 2], np.float32))
    message = predict_response([("y", tensor), ("z", tensor)], model_spec("m", 3, "s"))
    response = predict_pb2.PredictResponse.FromString(message)
    assert {alias: list(output.float_val) for alias, output in response.outputs.items()} == {"y": [1, 2], "z": [1, 2]}
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("m", 3, "s")
