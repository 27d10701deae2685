import dataclasses
import gzip
from typing import Any

import numpy as np
import orjson
import pytest

from bench.bert.contract.golden import FixedExport
from bench.bert.contract.golden_checker import GoldenChecker
from bench.bert.contract.masked_requests import FixedShape, score_request
from bench.core.errors import UsageError
from bench.load.engine.payloads import build_payloads, largest_response, request_sentences
from bench.serving import json_codec
from bench.serving.messages import PredictRequest
from bench.serving.tensors import from_proto, to_proto
from bench.workload.workload import Workload
from tests.support.toy_golden import SPECIAL, toy_golden, toy_sentence

GOLDEN = toy_golden(12)


def workload(**fields: Any) -> Workload:
    defaults: dict[str, Any] = {
        "protocol": "both",
        "transport": "fast",
        "signature": "score",
        "users": 1,
        "duration": 1.0,
    }
    return Workload(**defaults | fields)


@pytest.mark.parametrize("signature", ["score", "serving_default"])
@pytest.mark.parametrize("together", [1, 3, 20])
def test_both_bodies_ask_for_the_same_sentences(signature: str, together: int) -> None:
    payloads = build_payloads(GOLDEN, workload(signature=signature, sentences=together), ("rest", "grpc"))
    assert [payload.index for payload in payloads] == list(range(12))
    for payload in payloads:
        sentences = [GOLDEN.sentences[(payload.index + offset) % 12].sentence for offset in range(together)]
        inputs = score_request(sentences, SPECIAL, signature).inputs
        body = orjson.loads(payload.rest)
        message = PredictRequest.FromString(payload.grpc)
        assert body["signature_name"] == message.model_spec.signature_name == signature
        for name, array in inputs.items():
            np.testing.assert_array_equal([row[name] for row in body["instances"]], array)
            np.testing.assert_array_equal(from_proto(message.inputs[name]), array)
        words = sum(sentence.num_words for sentence in sentences)
        assert payload.words == words
        assert payload.sentences == together
        assert payload.rows == (together if signature == "score" else words)
        assert payload.tokens == sum(sentence.num_pieces for sentence in sentences)


def test_only_what_is_driven_is_built() -> None:
    (payload, *_) = build_payloads(GOLDEN, workload(protocol="rest"), ("rest",))
    assert payload.rest
    assert not payload.grpc


def test_a_compact_request_is_small() -> None:
    """A sentence of 14 words takes 700 bytes of JSON or less."""
    golden = dataclasses.replace(
        GOLDEN,
        sentences=tuple(
            dataclasses.replace(GOLDEN.sentences[0], sentence=sentence, log_prob=np.zeros(sentence.num_pieces))  # type: ignore[arg-type]
            for sentence in [toy_sentence(np.random.default_rng(seed), 14) for seed in range(20)]
        ),
    )
    assert max(len(entry.rest) for entry in build_payloads(golden, workload(), ("rest", "grpc"))) <= 700


def test_padding() -> None:
    padded = build_payloads(GOLDEN, workload(signature="serving_default", padded=True), ("rest",))[0]
    assert len(orjson.loads(padded.rest)["instances"][0]["input_ids"]) == 128
    with pytest.raises(UsageError, match="--padded"):
        build_payloads(GOLDEN, workload(padded=True), ("rest",))


def test_an_export_with_fixed_shapes_wants_its_own() -> None:
    fixed = dataclasses.replace(GOLDEN, fixed=FixedExport(FixedShape(64, 6), "prob"))
    payload = build_payloads(fixed, workload(signature="serving_default"), ("rest",))[0]
    assert len(orjson.loads(payload.rest)["instances"][0]["masked_lm_positions"]) == 6
    with pytest.raises(UsageError, match="--signature"):
        build_payloads(fixed, workload(), ("rest",))
    small = dataclasses.replace(GOLDEN, fixed=FixedExport(FixedShape(8, 6), "prob"))
    with pytest.raises(UsageError, match=r"^sentence \d+ of the golden file cannot be padded"):
        build_payloads(small, workload(signature="serving_default"), ("rest",))


def test_compression_is_of_rest_bodies() -> None:
    plain = build_payloads(GOLDEN, workload(), ("rest", "grpc"))
    packed = build_payloads(GOLDEN, workload(compressed=True), ("rest", "grpc"))
    assert [gzip.decompress(entry.rest) for entry in packed] == [entry.rest for entry in plain]
    assert [entry.grpc for entry in packed] == [entry.grpc for entry in plain]


def test_a_golden_file_without_sentences_is_refused() -> None:
    with pytest.raises(UsageError, match="--sentences"):
        build_payloads(dataclasses.replace(GOLDEN, sentences=()), workload(), ("rest",))


@pytest.mark.parametrize("signature", ["score", "serving_default"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("together", [1, 600])
def test_right_answers_are_far_smaller_than_the_largest_that_is_read(
    signature: str, compressed: bool, together: int
) -> None:
    """Also where the size of the requests decides, which may be packed."""
    golden = toy_golden(3)
    payloads = build_payloads(
        golden, workload(signature=signature, sentences=together, compressed=compressed), ("rest", "grpc")
    )
    key = GoldenChecker(golden, request_sentences(golden, together), signature)
    for payload in payloads:
        for request, pack in ((payload.rest, json_codec.dumps), (payload.grpc, dumps_message)):
            most = largest_response([dataclasses.replace(payload, rest=b"", grpc=request)])
            plain = gzip.decompress(request) if compressed and pack is json_codec.dumps else request
            assert most == max(1_000_000, 16 * len(plain))
            right = key.outputs(payload.index)["log_prob"]
            assert 2 * len(pack({"log_prob": right, "prob": np.exp(right)})) < most


@pytest.mark.parametrize("together", [1, 2000])
def test_the_limit_of_a_response_does_not_depend_on_compression(together: int) -> None:
    """8 kB of a compressed request had an answer of 1.4 MB, and a limit of 1 MB."""
    plain, packed = (
        build_payloads(GOLDEN, workload(sentences=together, compressed=compressed, protocol="rest"), ("rest",))
        for compressed in (False, True)
    )
    assert len(packed[0].rest) < len(plain[0].rest)
    assert largest_response(packed) == largest_response(plain) == max(1_000_000, 16 * max(len(p.rest) for p in plain))
    assert (largest_response(plain) > 1_000_000) == (together > 1)


def dumps_message(outputs: Any) -> Any:
    return b"".join(to_proto(array).SerializeToString() for array in outputs.values())
