"""The null servers answer rightly, to clients that are not ours."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.bert.contract.masked_requests import score_request
from bench.core.errors import TargetError
from bench.load.selftest.null_server import null_server
from bench.serving.errors import Rejected
from bench.serving.grpc_client import GrpcClient
from bench.serving.rest import RestClient
from bench.serving.types import PredictRequest
from tests.support.toy_golden import toy_golden, write_model_dir

GOLDEN = toy_golden(12)


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with null_server(write_model_dir(tmp_path_factory.mktemp("model"), GOLDEN)) as found:
        yield found


@pytest.fixture(params=["rest", "grpc"])
def client(request: pytest.FixtureRequest, addresses: Any) -> Iterator[Any]:
    with RestClient(addresses["rest"]) if request.param == "rest" else GrpcClient(addresses["grpc"]) as made:
        yield made


def test_golden_answers(client: Any) -> None:
    for entry in GOLDEN.sentences:
        response = client.predict(score_request([entry.sentence], GOLDEN.special), 10)
        (output,) = response.outputs.values()
        np.testing.assert_array_equal(np.float32(output[0]), entry.log_prob)


def test_the_model_is_available(client: Any) -> None:
    (version,) = client.status("bert", 10)
    assert version.state == "AVAILABLE"


def test_other_requests_are_refused(client: Any) -> None:
    for _ in range(2):
        with pytest.raises(Rejected, match="does not know"):
            client.predict(PredictRequest({"x": np.zeros((1, 3), np.int32)}), 10)


def test_large_messages_both_ways(tmp_path: Path) -> None:
    """Beyond HTTP/2's first windows and frame size."""
    golden = toy_golden(4, words=(20, 30))
    with null_server(write_model_dir(tmp_path, golden), "serving_default", 300) as addresses:
        sentences = [golden.sentences[index % 4].sentence for index in range(300)]
        request = score_request(sentences, golden.special, "serving_default")
        with GrpcClient(addresses["grpc"]) as grpc, RestClient(addresses["rest"]) as rest:
            by_grpc, by_rest = grpc.predict(request, 20), rest.predict(request, 20)
    assert by_grpc.bytes_out > 200_000
    assert by_grpc.bytes_in > 60_000
    np.testing.assert_array_equal(by_grpc.outputs["log_prob"], np.float32(by_rest.outputs[""]))


def test_a_model_folder_without_answers(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="did not start"), null_server(tmp_path):
        pass
