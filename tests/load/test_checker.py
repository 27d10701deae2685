"""One answer, one kind: what is wrong with an answer is called the same, whatever it came by."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from bench.bert.contract.golden_checker import GoldenChecker
from bench.bert.contract.masked_requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE
from bench.load.engine.checker import Checker
from bench.load.engine.payloads import request_sentences
from bench.results.records import WrongKind
from bench.serving.errors import InvalidResponse
from bench.serving.json_codec import dumps, predict_outputs
from bench.serving.messages import PredictResponse, TensorProto, TensorShapeProto, data_type
from bench.serving.tensors import to_proto
from tests.support.toy_golden import toy_golden

GOLDEN = toy_golden(20)
REQUEST = 2
TRUNCATED, SHAPE, DRIFT, NOT_FINITE, SWAP = (
    WrongKind.TRUNCATED,
    WrongKind.SHAPE,
    WrongKind.DRIFT,
    WrongKind.NOT_FINITE,
    WrongKind.SWAP,
)
INVALID = "invalid_response"


def key_of(signature: Any) -> GoldenChecker:
    return GoldenChecker(GOLDEN, request_sentences(GOLDEN, 2), signature)


def rest_body(outputs: Any) -> Any:
    """As Serving lays it out: one output without its name, several as an object a row."""
    if len(outputs) == 1:
        (values,) = outputs.values()
        return dumps({"predictions": values})
    return dumps({"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]})


def grpc_message(outputs: Any) -> Any:
    message = PredictResponse()
    for name, array in outputs.items():
        message.outputs[name].CopyFrom(to_proto(array))
    return message.SerializeToString()


def found(protocol: Any, signature: Any, answer: Any) -> Any:
    """The kind, or that it cannot be read."""
    try:
        return Checker(key_of(signature)).check(protocol, REQUEST, answer)[0]
    except InvalidResponse:
        return INVALID


def changed(place: Any, value: Any) -> Any:
    def change(output: Any) -> Any:
        output = output.copy()
        output[place] = value
        return output

    return change


DEFECTS = {
    "none": (lambda output: output, None),
    "padded": (lambda output: np.pad(output, ((0, 0), (0, 3))), None),
    "as doubles": (lambda output: output.astype(np.float64), None),
    "a row missing": (lambda output: output[:-1], TRUNCATED),
    "no rows": (lambda output: output[:0], TRUNCATED),
    "a column missing": (lambda output: output[:, :-1], TRUNCATED),
    "no columns": (lambda output: output[:, :0], TRUNCATED),
    "neither": (lambda output: output[:0, :0], TRUNCATED),
    "nothing at all": (lambda output: np.zeros(0, np.float32), TRUNCATED),
    "a row too many": (lambda output: np.concatenate([output, output[:1]]), SHAPE),
    "twice": (lambda output: np.concatenate([output, output]), SHAPE),
    "one row alone": (lambda output: output[0], SHAPE),
    "flat": (lambda output: output.ravel(), SHAPE),
    "a dimension more": (lambda output: output[None], SHAPE),
    "a number": (lambda output: output[0, 0], SHAPE),
    "texts": (lambda output: output.astype(str), SHAPE),
    "a text": (lambda output: np.asarray("no"), SHAPE),
    "truth values": (lambda output: output < 0, SHAPE),
    "whole numbers": (lambda output: output.astype(np.int64), DRIFT),
    "a value off": (changed((0, 0), -99.0), DRIFT),
    "a large value": (changed((0, 0), -1e30), DRIFT),
    "NaN": (changed((0, 0), math.nan), NOT_FINITE),
    "NaN and a row missing": (lambda output: changed((0, 0), math.nan)(output)[:-1], NOT_FINITE),
    "infinite": (changed((0, 0), -math.inf), NOT_FINITE),
}

# An object a row holds all outputs, so that over REST one of them alone cannot have fewer.
SAME_HEIGHT = [name for name, (_, kind) in DEFECTS.items() if kind in (None, DRIFT, NOT_FINITE) and "row" not in name]


@pytest.mark.parametrize("signature", [COMPACT_SIGNATURE, ARTICLE_SIGNATURE])
@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_one_output(protocol: str, defect: Any, signature: Any) -> None:
    change, kind = DEFECTS[defect]
    outputs = {"log_prob": change(key_of(signature).outputs(REQUEST)["log_prob"])}
    assert found(protocol, signature, (rest_body if protocol == "rest" else grpc_message)(outputs)) == kind


@pytest.mark.parametrize("defect", SAME_HEIGHT)
@pytest.mark.parametrize("broken", ["log_prob", "prob"])
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_one_of_two_outputs(protocol: str, broken: str, defect: Any) -> None:
    change, kind = DEFECTS[defect]
    right = key_of(ARTICLE_SIGNATURE).outputs(REQUEST)["log_prob"]
    outputs = {"log_prob": right, "prob": np.exp(right)}
    outputs[broken] = change(outputs[broken])
    assert found(protocol, ARTICLE_SIGNATURE, (rest_body if protocol == "rest" else grpc_message)(outputs)) == kind


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda right: {"log_prob": right[:-1], "prob": np.exp(right[:-1])}, TRUNCATED),
        (lambda right: {"log_prob": right[:0], "prob": right[:0]}, TRUNCATED),
        (lambda right: {"log_prob": right, "prob": np.exp(right)[:, :-1]}, TRUNCATED),
        (lambda right: {"log_prob": right, "prob": right.astype(str)}, SHAPE),
        (lambda right: {"log_prob": right, "prob": right < 0}, SHAPE),
        (lambda right: {"log_prob": right, "prob": np.exp(right)[:, 0]}, SHAPE),
        (lambda right: {"probability": right, "prob": np.exp(right)}, SHAPE),
        (lambda right: {"log_prob": right + 1, "prob": np.exp(right)}, DRIFT),
    ],
)
@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_two_outputs(protocol: str, change: Any, kind: str) -> None:
    outputs = change(key_of(ARTICLE_SIGNATURE).outputs(REQUEST)["log_prob"])
    assert found(protocol, ARTICLE_SIGNATURE, (rest_body if protocol == "rest" else grpc_message)(outputs)) == kind


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_answer_to_another_request(protocol: str) -> None:
    outputs = key_of(COMPACT_SIGNATURE).outputs(7)
    assert found(protocol, COMPACT_SIGNATURE, (rest_body if protocol == "rest" else grpc_message)(outputs)) == SWAP


def tensor(shape: Any, **values: Any) -> Any:
    dims = [TensorShapeProto.Dim(size=size) for size in shape]
    proto = TensorProto(dtype=data_type("DT_FLOAT"), tensor_shape=TensorShapeProto(dim=dims), **values)
    return PredictResponse(outputs={"log_prob": proto}).SerializeToString()


@pytest.mark.parametrize(
    ("protocol", "answer", "kind"),
    [
        # Values that make no matrix: rows of different lengths, a shape that its values do not fill.
        ("rest", b'{"predictions": [[-1.0, -2.0], [-3.0]]}', INVALID),
        ("grpc", tensor((2, 2), tensor_content=bytes(12)), INVALID),
        # Nothing that has a value.
        ("rest", b'{"predictions": [{}, {}]}', INVALID),
        ("rest", b'{"outputs": {}}', INVALID),
        ("rest", b"{}", INVALID),
        ("grpc", b"", INVALID),
        # What JSON alone has.
        ("rest", b'{"predictions": [[null, -1.0], [-1.0, -1.0]]}', SHAPE),
        ("rest", b'{"predictions": [[-1%s, -1.0], [-1.0, -1.0]]}' % (b"0" * 30), DRIFT),
        ("rest", b'{"predictions": [[-1%s, -1.0], [-1.0, -1.0]]}' % (b"0" * 400), NOT_FINITE),
        ("rest", b'{"predictions": [[-1e999, -1.0], [-1.0, -1.0]]}', NOT_FINITE),
        ("rest", b'{"predictions": [["NaN", "NaN"], ["NaN", "NaN"]]}', SHAPE),
        # What protobuf alone has: one value for all, and for more than there is memory for.
        ("grpc", tensor((2, 60), float_val=[-1.0]), DRIFT),
        ("grpc", tensor((2, 1 << 50), float_val=[-1.0]), INVALID),
        ("grpc", tensor((2,) * 100, float_val=[-1.0]), INVALID),
    ],
)
def test_what_one_protocol_alone_can_say(protocol: str, answer: Any, kind: str) -> None:
    # A row in the right height is wide enough to be compared.
    if kind in (DRIFT, NOT_FINITE) and protocol == "rest":
        answer = answer.replace(b"-1.0]", b"-1.0" + b", -1.0" * 60 + b"]")
    assert found(protocol, COMPACT_SIGNATURE, answer) == kind


def padded(protocol: str, request: int, width: int) -> bytes:
    """A right answer that is padded to some hundred kilobytes; each width makes another."""
    right = key_of(COMPACT_SIGNATURE).outputs(request)["log_prob"]
    wide = np.pad(right, ((0, 0), (0, width - right.shape[1])))
    made: bytes = (rest_body if protocol == "rest" else grpc_message)({"log_prob": wide})
    return made


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_large_answers_are_not_all_kept(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 requests whose right answers were padded kept 276 MB."""
    monkeypatch.setattr("bench.load.engine.checker._WHOLE_BYTES", 1_000_000)
    checker = Checker(key_of(COMPACT_SIGNATURE))
    answers = [padded(protocol, request, 20_000 + turn) for request in range(5) for turn in range(12)]
    tracemalloc.start()
    try:
        for number in range(len(answers)):
            # A copy, as each answer arrives.
            copy = bytes(bytearray(answers[number]))
            assert checker.check(protocol, number // 12, copy)[0] is None
            assert checker.check(protocol, number // 12, bytes(bytearray(copy)))[0] is None
        del copy
        assert tracemalloc.get_traced_memory()[0] < 1_500_000
    finally:
        tracemalloc.stop()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The REST bodies that were decoded so far."""
    found: list[bytes] = []

    def decode(body: bytes) -> Any:
        found.append(body)
        return predict_outputs(body)

    monkeypatch.setattr("bench.load.engine.checker.predict_outputs", decode)
    return found


def test_answers_that_come_again_are_not_decoded_again(decoded: list[bytes]) -> None:
    checker = Checker(key_of(COMPACT_SIGNATURE))
    answers = [padded("rest", 0, 100 + turn) for turn in range(9)]
    for answer in answers:
        checker.check("rest", 0, answer)
    decoded.clear()
    for answer in [*answers[1:], answers[-1], answers[1]]:
        assert checker.check("rest", 0, answer) == (None, None)
    assert decoded == []
    checker.check("rest", 0, answers[0])
    assert decoded == answers[:1]


def test_answers_that_find_no_room_are_not_decoded_again(decoded: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load.engine.checker._WHOLE_BYTES", 10_000)
    checker = Checker(key_of(COMPACT_SIGNATURE))
    answers = [padded("rest", request, 2_000) for request in range(10)]
    for _ in range(3):
        for request, answer in enumerate(answers):
            assert checker.check("rest", request, answer) == (None, None)
    assert decoded == answers
    # A digest is that of the whole answer.
    assert checker.check("rest", 0, answers[0].replace(b"-", b"-9", 1))[0] == DRIFT


def test_an_answer_that_finds_no_room_leaves_the_earlier_one(
    decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = padded("rest", 0, 100), padded("rest", 0, 20_000)
    monkeypatch.setattr("bench.load.engine.checker._WHOLE_BYTES", len(small))
    checker = Checker(key_of(COMPACT_SIGNATURE))
    for answer in (small, large):
        assert checker.check("rest", 0, answer) == (None, None)
    # One comparison suffices still.
    monkeypatch.delattr("bench.load.engine.checker.blake2b")
    assert checker.check("rest", 0, small) == (None, None)
    assert decoded == [small, large]
