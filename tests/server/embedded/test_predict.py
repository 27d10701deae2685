"""Predict, before anything runs."""

from typing import Any

import pytest

from bench.server.embedded.api.predict import predict
from bench.server.embedded.base.status import StatusError
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.models.signatures import Signature
from bench.serving.protos import meta_graph_pb2


class Unused:
    """Stands in for a version that must not run."""

    max_fill = 0


@pytest.mark.parametrize("name", ["", "tensorflow/serving/other"])
def test_the_name_of_a_method_is_checked_where_a_flag_asks_for_it(name: str) -> None:
    signature = Signature("s", meta_graph_pb2.SignatureDef(method_name=name))
    unused: Any = Unused()
    with pytest.raises(StatusError) as refused:
        predict(unused, signature, {}, (), Caller(), check_method=True)
    assert str(refused.value) == (
        "INTERNAL: Expected prediction signature method_name to be one of {tensorflow/serving/predict, "
        f"tensorflow/serving/classify, tensorflow/serving/regress}}. Was: {name}"
    )
