"""Classes and values of examples over gRPC: V1 graphs with one input tensor, TF2 exports with one a signature."""

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest

from bench.serving.protos import classification_pb2, inference_pb2, input_pb2
from tests.support.embedded_server import Served, entry, model_config, start

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


@pytest.fixture(scope="module", params=["plain", "batching"])
def served(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Served]:
    from tests.support import saved_models as models

    root = tmp_path_factory.mktemp("examples")
    for name in ("affine", "scorer"):
        (root / name).mkdir()
        getattr(models, name)(root / name, 1)
    config = model_config(root / "models.config", *(entry(name, root / name) for name in ("affine", "scorer")))
    with start(f"--model_config_file={config}", *(["--enable_batching"] if request.param == "batching" else [])) as it:
        yield it


def examples(*values: float) -> Any:
    """An Input with an example for each value of `x`."""
    given = input_pb2.Input()
    given.example_list.SetInParent()
    for value in values:
        given.example_list.examples.add().features.feature["x"].float_list.value.append(value)
    return given


def infer(served: Served, model: str, tasks: Sequence[tuple[str, str]], given: Any) -> Any:
    """The answer to a MultiInferenceRequest of (signature, method) tasks."""
    request = inference_pb2.MultiInferenceRequest(
        tasks=[
            {"model_spec": {"name": model, "signature_name": name}, "method_name": method} for name, method in tasks
        ],
        input=given,
    )
    return served.call("PredictionService/MultiInference", request, inference_pb2.MultiInferenceResponse)


def values(result: Any) -> list[float]:
    return [one.value for one in result.regression_result.regressions]


def classes(result: Any) -> list[list[tuple[str, float]]]:
    return [[(one.label, one.score) for one in each.classes] for each in result.classification_result.classifications]


@pytest.mark.parametrize(("model", "factor"), [("affine", 1), ("scorer", 10)])
def test_classes_and_values_from_one_run(served: Served, model: str, factor: int) -> None:
    tasks = [("regress_x", REGRESS), ("classify_x", CLASSIFY)]
    for order in (tasks, tasks[::-1]):
        answer = infer(served, model, order, examples(1.0, 2.0))
        regressed, classified = answer.results if order is tasks else reversed(answer.results)
        assert values(regressed) == [2.5 * factor, 3.0 * factor]
        second = (3.5, 4.0) if model == "affine" else (-2.5, -3.0)
        assert classes(classified) == [
            [("low", low), ("high", high)] for low, high in zip((2.5, 3.0), second, strict=True)
        ]
        for result, (name, _) in zip(answer.results, order, strict=True):
            spec = result.model_spec
            assert (spec.name, spec.version.value, spec.signature_name) == (model, 1, name)


def test_one_task_and_the_default_signature(served: Served) -> None:
    (result,) = infer(served, "scorer", [("", REGRESS)], examples(1.0)).results
    assert (values(result), result.model_spec.signature_name) == ([2.5], "serving_default")


def test_a_signature_may_be_asked_as_what_it_gives(served: Served) -> None:
    """The task's method counts, not the one that the export wrote down: TF2 writes `predict` for each signature."""
    tasks = [("only_scores", CLASSIFY), ("only_classes", CLASSIFY), ("", REGRESS), ("regress_x", REGRESS)]
    results = infer(served, "scorer", tasks, examples(1.0)).results
    assert classes(results[0]) == [[("", 2.5)]]
    assert classes(results[1]) == [[("low", 0.0), ("high", 0.0)]]
    assert [values(result) for result in results[2:]] == [[2.5], [25.0]]


@pytest.mark.parametrize(
    ("model", "tasks", "given", "code", "details"),
    [
        ("scorer", [("regress_x", REGRESS), ("regress_x", CLASSIFY)], examples(1.0), "INVALID_ARGUMENT",
         "Duplicate evaluation of signature: regress_x"),
        ("scorer", [("", REGRESS), ("serving_default", REGRESS)], examples(1.0), "INVALID_ARGUMENT",
         "Duplicate evaluation of signature: serving_default"),
        ("scorer", [("regress_x", REGRESS), ("nope", CLASSIFY)], examples(1.0), "INVALID_ARGUMENT",
         "Requested signature not found in model graph: nope"),
        ("scorer", [("regress_x", "tensorflow/serving/predict")], examples(1.0), "UNIMPLEMENTED",
         "Unsupported signature method_name: tensorflow/serving/predict"),
        ("scorer", [("regress_x", "")], examples(1.0), "UNIMPLEMENTED", "Unsupported signature method_name: "),
        ("scorer", [("classify_x", REGRESS)], examples(1.0), "INVALID_ARGUMENT", "Expected one output Tensor."),
        ("scorer", [("regress_x", REGRESS)], examples(), "INVALID_ARGUMENT", "Input is empty."),
        ("scorer", [("regress_x", REGRESS)], input_pb2.Input(), "INVALID_ARGUMENT", "Input is empty."),
        ("none", [("regress_x", REGRESS)], examples(1.0), "NOT_FOUND", "Servable not found for request: Latest(none)"),
        ("", [("regress_x", REGRESS)], examples(1.0), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ],
)  # fmt: skip
def test_tasks_that_are_refused(
    served: Served, model: str, tasks: Sequence[tuple[str, str]], given: Any, code: str, details: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        infer(served, model, tasks, given)
    assert (caught.value.code().name, caught.value.details()) == (code, details)


@pytest.mark.parametrize(
    ("second", "details"),
    [
        ({"name": "affine"}, "All ModelSpecs in a MultiInferenceRequest must access the same model name."),
        ({}, "Found ModelSpec with an empty model name."),
    ],
)
def test_a_second_model(served: Served, second: dict[str, str], details: str) -> None:
    tasks = [{"model_spec": {"name": "scorer"}, "method_name": REGRESS}, {"model_spec": second}]
    request = inference_pb2.MultiInferenceRequest(tasks=tasks, input=examples(1.0))
    with pytest.raises(grpc.RpcError) as caught:
        served.call("PredictionService/MultiInference", request, inference_pb2.MultiInferenceResponse)
    assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", details)


def test_an_example_that_the_graph_refuses_in_a_tf2_export(served: Served) -> None:
    given = input_pb2.Input()
    given.example_list.examples.add()
    with pytest.raises(grpc.RpcError) as caught:
        infer(served, "scorer", [("regress_x", REGRESS), ("classify_x", CLASSIFY)], given)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Feature: x (data type: float) is required but could not be found." in caught.value.details()


def test_classes_of_a_tf2_export_alone(served: Served) -> None:
    request = classification_pb2.ClassificationRequest(
        model_spec={"name": "scorer", "signature_name": "classify_x"}, input=examples(1.0)
    )
    answer = served.call("PredictionService/Classify", request, classification_pb2.ClassificationResponse)
    assert [(one.label, one.score) for one in answer.result.classifications[0].classes] == [
        ("low", 2.5),
        ("high", -2.5),
    ]
