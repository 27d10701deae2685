from typing import Any

import numpy as np
import pytest

from bench.serving.errors import InvalidResponse
from bench.serving.messages import PredictResponse, TensorProto, data_type
from bench.serving.predict_messages import predict_response
from bench.serving.tensors import from_proto, to_proto


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1, 2, 30522], [0, -1, 7]], np.int32),
        np.array([2**40, -(2**40)], np.int64),
        np.array([[0.5], [-1e-30]], np.float32),
        np.array([np.nan, np.inf, -np.inf]),
        np.array([True, False]),
        np.array(3.5, np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros((2, 0), np.int32),
        np.array([255, 0], np.uint8),
        np.array([-128, 127], np.int8),
        np.array([2**63 + 1], np.uint64),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    ],
)
def test_numbers_survive_both_ways(array: Any) -> None:
    back = from_proto(TensorProto.FromString(to_proto(array).SerializeToString()))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_strings_become_bytes() -> None:
    back = from_proto(to_proto(np.array([["a", "é"], ["", "d"]])))
    assert back.tolist() == [[b"a", "é".encode()], [b"", b"d"]]
    assert from_proto(to_proto(np.array([b"\x00\xff"], object))).tolist() == [b"\x00\xff"]


def test_raw_content_and_typed_values_read_alike() -> None:
    """Serving answers with typed values, newer servers with raw content."""
    values = np.array([[1.5, -2.0]], np.float32)
    typed = to_proto(values)
    typed.ClearField("tensor_content")
    typed.float_val.extend([1.5, -2.0])
    np.testing.assert_array_equal(from_proto(typed), from_proto(to_proto(values)))


def test_the_last_value_is_repeated() -> None:
    proto = to_proto(np.array([[7, 8], [8, 8]], np.int32))
    del proto.int_val[2:]
    np.testing.assert_array_equal(from_proto(proto), [[7, 8], [8, 8]])


@pytest.mark.parametrize(
    ("enum", "bits"), [(data_type("DT_HALF"), np.float16(1.5).view(np.uint16)), (data_type("DT_BFLOAT16"), 0x3FC0)]
)
def test_half_precision_comes_as_float32(enum: Any, bits: Any) -> None:
    proto = TensorProto(dtype=enum, half_val=[int(bits)])
    proto.tensor_shape.dim.add(size=1)
    assert from_proto(proto).tolist() == [1.5]
    proto.ClearField("half_val")
    proto.tensor_content = int(bits).to_bytes(2, "little")
    assert from_proto(proto).dtype == np.float32
    assert from_proto(proto).tolist() == [1.5]


def make(**fields: Any) -> Any:
    proto = to_proto(np.array([1.0, 2.0], np.float32))
    proto.MergeFrom(TensorProto(**fields))
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        make(tensor_content=b"\x00" * 12),
        make(tensor_content=b"\x00" * 4),
        make(tensor_content=b"\x00" * 7),
        make(dtype=data_type("DT_VARIANT")),
        make(dtype=data_type("DT_STRING"), string_val=[b"a", b"b", b"c"]),
        TensorProto(dtype=data_type("DT_FLOAT"), tensor_shape={"dim": [{"size": 3}]}),
        TensorProto(dtype=data_type("DT_FLOAT"), tensor_shape={"unknown_rank": True}),
        TensorProto(dtype=data_type("DT_FLOAT"), tensor_shape={"dim": [{"size": -1}]}, float_val=[1]),
        TensorProto(),
        TensorProto(dtype=data_type("DT_FLOAT"), tensor_shape={"dim": [{"size": 1 << 24}]}, float_val=[1]),
    ],
)
def test_what_contradicts_itself_is_a_value_error(proto: Any) -> None:
    with pytest.raises(ValueError, match=r"tensor|buffer"):
        from_proto(proto)


def test_a_tensor_of_very_many_dimensions_is_refused_at_once() -> None:
    """Their product took half a minute for a megabyte."""
    for rank, text in ((254, "a tensor of shape"), (255, "a tensor of 255 dimensions"), (100_000, "100,000 dimen")):
        with pytest.raises(ValueError, match=text):
            from_proto(TensorProto(dtype=1, tensor_shape={"dim": [{"size": 1 << 62}] * rank}, float_val=[1]))


@pytest.mark.parametrize(
    ("enum", "field", "value"),
    [
        ("DT_INT8", "int_val", 128),
        ("DT_INT16", "int_val", -32769),
        ("DT_UINT8", "int_val", -1),
        ("DT_UINT16", "int_val", 1 << 16),
        ("DT_HALF", "half_val", -1),
        ("DT_BFLOAT16", "half_val", 1 << 16),
    ],
)
def test_a_value_that_its_type_does_not_hold_is_a_value_error(enum: str, field: str, value: int) -> None:
    proto = TensorProto(dtype=data_type(enum), tensor_shape={"dim": [{"size": 1}]}, **{field: [value]})
    with pytest.raises(ValueError, match="a value that is not u?int"):
        from_proto(proto)


def answer(outputs: int, repeated: int) -> Any:
    """A PredictResponse whose outputs say that they have so many values, and hold one."""
    made = PredictResponse()
    for index in range(outputs):
        proto = TensorProto(dtype=data_type("DT_DOUBLE"), tensor_shape={"dim": [{"size": repeated}]}, double_val=[1])
        made.outputs[str(index)].CopyFrom(proto)
    return made.SerializeToString()


def test_repeated_values_count_over_all_outputs() -> None:
    """256 bytes of an answer took 1.2 GB."""
    assert len(predict_response(answer(2, 1 << 19), 0).outputs) == 2
    for data in (answer(3, 1 << 19), answer(8, 1 << 24), answer(101, 1)):
        with pytest.raises(InvalidResponse):
            predict_response(data, 0)


def test_a_dtype_without_a_tensor_type_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="complex64"):
        to_proto(np.zeros(2, np.complex64))
