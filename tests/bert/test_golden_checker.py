"""Which answers are right, and in which way the others are wrong."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from bench.bert.contract.golden import FixedExport
from bench.bert.contract.golden_checker import GoldenChecker
from bench.bert.contract.requests import ARTICLE_SIGNATURE, COMPACT_SIGNATURE, FixedShape, piece_log_probs
from bench.results.records import WrongKind
from tests.support.toy_golden import toy_golden

GOLDEN = toy_golden(30)
SIGNATURES = [COMPACT_SIGNATURE, ARTICLE_SIGNATURE]


def make_key(signature: Any, together: Any = 1) -> Any:
    count = len(GOLDEN.sentences)
    requests = [tuple((first + offset) % count for offset in range(together)) for first in range(count)]
    return GoldenChecker(GOLDEN, requests, signature), requests


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("together", [1, 3])
def test_right_answers_are_right_and_hold_the_golden_values(signature: Any, together: int) -> None:
    key, requests = make_key(signature, together)
    for index, request in enumerate(requests):
        outputs = key.outputs(index)
        assert key.judge(index, outputs) is None
        sentences = [GOLDEN.sentences[entry].sentence for entry in request]
        for values, entry in zip(piece_log_probs(outputs["log_prob"], sentences, signature), request, strict=True):
            np.testing.assert_array_equal(values, GOLDEN.sentences[entry].log_prob)


@pytest.mark.parametrize("signature", SIGNATURES)
def test_a_lone_rest_output_has_no_name(signature: Any) -> None:
    key, _ = make_key(signature)
    assert key.judge(4, {"": key.outputs(4)["log_prob"]}) is None


@pytest.mark.parametrize("signature", SIGNATURES)
def test_padding_by_the_server_does_not_matter(signature: Any) -> None:
    """Serving's batching pads a request to the longest of its batch, and cuts only the rows back."""
    key, _ = make_key(signature)
    output = key.outputs(7)["log_prob"]
    padded = np.pad(output, ((0, 0), (0, 5)), constant_values=-3.0)
    assert key.judge(7, {"log_prob": padded}) is None


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("together", [1, 3])
def test_one_value_off_by_more_than_the_tolerance_is_drift(signature: Any, together: int) -> None:
    key, _ = make_key(signature, together)
    for index in range(len(GOLDEN.sentences)):
        for factor, kind in ((0.5, None), (3.0, WrongKind.DRIFT)):
            outputs = key.outputs(index)
            expected = key.expected[index]
            last = expected.rows[-1], expected.columns[-1]
            outputs["log_prob"][last] += factor * GOLDEN.tolerance
            assert key.judge(index, outputs) == kind


@pytest.mark.parametrize("signature", SIGNATURES)
@pytest.mark.parametrize("together", [1, 3])
def test_the_answer_to_another_request_is_a_swap(signature: Any, together: int) -> None:
    key, _ = make_key(signature, together)
    count = len(GOLDEN.sentences)
    for index in range(count):
        other = (index + 11) % count
        assert key.judge(index, key.outputs(other)) is WrongKind.SWAP


@pytest.mark.parametrize("signature", SIGNATURES)
def test_missing_rows_or_values_are_truncated(signature: Any) -> None:
    key, _ = make_key(signature, 3)
    output = key.outputs(2)["log_prob"]
    assert key.judge(2, {"log_prob": output[:-1]}) is WrongKind.TRUNCATED
    assert key.judge(2, {"log_prob": output[:, :-1]}) is WrongKind.TRUNCATED
    assert key.judge(2, {"log_prob": output[:0]}) is WrongKind.TRUNCATED


@pytest.mark.parametrize("signature", SIGNATURES)
def test_what_is_no_matrix_of_the_right_height_has_the_wrong_shape(signature: Any) -> None:
    key, _ = make_key(signature)
    output = key.outputs(3)["log_prob"]
    for wrong in (output[0], output[None], np.repeat(output, 2, axis=0), output.astype(str), np.float32(1.0)):
        assert key.judge(3, {"log_prob": np.asarray(wrong)}) is WrongKind.SHAPE
    assert key.judge(3, {"other": output}) is WrongKind.SHAPE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_not_finite_comes_first(signature: Any, value: Any) -> None:
    key, _ = make_key(signature)
    outputs = key.outputs(3)
    expected = key.expected[3]
    outputs["log_prob"][expected.rows[0], expected.columns[0]] = value
    assert key.judge(3, outputs) is WrongKind.NOT_FINITE


def test_probabilities_beside_log_probabilities_are_compared_too() -> None:
    key, _ = make_key(ARTICLE_SIGNATURE)
    outputs = key.outputs(5)
    outputs["prob"] = np.exp(outputs["log_prob"])
    assert key.judge(5, outputs) is None
    outputs["prob"][0, 0] += 0.01
    assert key.judge(5, outputs) is WrongKind.DRIFT


@pytest.mark.parametrize("kind", ["prob", "nll"])
def test_an_export_with_fixed_shapes(kind: str) -> None:
    shape = FixedShape(64, 6)
    golden = dataclasses.replace(GOLDEN, fixed=FixedExport(shape, kind))
    key = GoldenChecker(golden, [(index,) for index in range(len(golden.sentences))], ARTICLE_SIGNATURE)
    outputs = key.outputs(1)
    (output,) = outputs.values()
    assert output.shape == (golden.sentences[1].sentence.num_words, 6)
    assert key.judge(1, outputs) is None
    assert key.judge(1, {"": output}) is None
    assert key.judge(1, {"output": output * 1.5}) is WrongKind.DRIFT
    assert key.judge(1, key.outputs(2)) is WrongKind.SWAP
