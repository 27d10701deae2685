import numpy as np
import pytest

from bench.serving.errors import Unavailable
from bench.serving.fake import FakeServingClient
from bench.serving.types import PredictRequest, ServingClient


def test_the_fake_is_a_serving_client() -> None:
    client = FakeServingClient(lambda request: {"y": request.inputs["x"] + 1}, version=5)
    as_client: ServingClient = client
    request = PredictRequest({"x": np.array([1.0])})
    with as_client:
        response = client.predict(request, 1)
    assert response.outputs["y"].tolist() == [2.0]
    assert (response.version, response.bytes_out, response.bytes_in) == (5, 8, 8)
    assert client.calls == [request]
    assert client.closed
    assert client.status("bert", 1)[0].version == client.metadata("bert", 1).version == 5


def test_failures_can_be_lined_up() -> None:
    client = FakeServingClient(lambda request: {})
    client.fail(Unavailable("full"), None, Unavailable("full"))
    for fails in (True, False, True, False):
        if fails:
            with pytest.raises(Unavailable):
                client.predict(PredictRequest({}), 1)
        else:
            client.predict(PredictRequest({}), 1)
    assert len(client.calls) == 4
