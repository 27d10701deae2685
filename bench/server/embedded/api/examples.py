"""Classify, Regress and MultiInference: from `tf.Example`s to classes or values.

Checks have the order and texts of classifier.cc, regressor.cc, multi_inference.cc and util.cc.
"""

import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Final

from bench.server.embedded.base import metrics
from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.models.servable import Caller, Servable
from bench.server.embedded.models.signatures import DEFAULT_SIGNATURE, Signature
from bench.server.embedded.runtime.tensors import DT_FLOAT, DT_STRING, Tensor, check_fill, shape_text
from bench.serving.protos import classification_pb2, regression_pb2, types_pb2

CLASSIFY_METHOD: Final = "tensorflow/serving/classify"
REGRESS_METHOD: Final = "tensorflow/serving/regress"

_INPUTS: Final = "inputs"
_CLASSES: Final = "classes"
_SCORES: Final = "scores"
_OUTPUTS: Final = "outputs"


@dataclass(frozen=True, slots=True)
class Plan:
    """The tensors of a signature.

    Args:
        feed: tensor name of the examples.
        fetches: tensor names of the outputs by role.
    """

    feed: str
    fetches: Mapping[str, str]


def classify(servable: Servable, request: Any, caller: Caller, check_method: bool) -> Any:
    """The ClassificationResult of a ClassificationRequest.

    Raises:
        StatusError: no such signature, it does not classify, or the runtime fails.
    """
    signature = _signature(servable, request.model_spec.signature_name)
    plan = classification_plan(signature, check_method)
    count, outputs = _run(servable, request.input, {plan.feed}, set(plan.fetches.values()), caller, "Classify")
    return classification_result(plan, count, outputs)


def regress(servable: Servable, request: Any, caller: Caller, check_method: bool) -> Any:
    """The RegressionResult of a RegressionRequest; raises as `classify`."""
    signature = _signature(servable, request.model_spec.signature_name)
    plan = regression_plan(signature, check_method)
    count, outputs = _run(servable, request.input, {plan.feed}, set(plan.fetches.values()), caller, "Regress")
    return regression_result(plan, count, outputs)


def multi_inference(servable: Servable, request: Any, caller: Caller, check_method: bool) -> list[Any]:
    """One result per task of a MultiInferenceRequest, all from one run of the graph; raises as `classify`.

    The examples are fed to the input tensor of every task: a TF2 export has one per signature.
    """
    plans: dict[str, tuple[str, Plan]] = {}
    model = ""
    for task in request.tasks:
        spec = task.model_spec
        if not spec.name:
            raise invalid_argument("Found ModelSpec with an empty model name.")
        if model and spec.name != model:
            raise invalid_argument("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        model = spec.name
        name = spec.signature_name or DEFAULT_SIGNATURE
        if name in plans:
            raise invalid_argument(f"Duplicate evaluation of signature: {name}")
        plans[name] = (task.method_name, _task_plan(servable, name, task.method_name, check_method))
    feeds = {plan.feed for _, plan in plans.values()}
    fetches = {fetch for _, plan in plans.values() for fetch in plan.fetches.values()}
    count, outputs = _run(servable, request.input, feeds, fetches, caller, None)
    metrics.REQUEST_EXAMPLE_COUNTS.add((model,), count)
    metrics.REQUEST_EXAMPLE_COUNT_TOTAL.add((model,), count)
    return [
        (classification_result if method == CLASSIFY_METHOD else regression_result)(plan, count, outputs)
        for method, plan in plans.values()
    ]


def _task_plan(servable: Servable, name: str, method: str, check_method: bool) -> Plan:
    signature = servable.signatures.get(name)
    if signature is None:
        raise invalid_argument(f"Requested signature not found in model graph: {name}")
    if method == CLASSIFY_METHOD:
        return classification_plan(signature, check_method)
    if method == REGRESS_METHOD:
        return regression_plan(signature, check_method)
    raise StatusError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method}")


def _signature(servable: Servable, name: str) -> Signature:
    key = name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise invalid_argument(f"No signature was found with the name: {key}")
    return signature


def classification_plan(signature: Signature, check_method: bool) -> Plan:
    """The plan of a classification signature.

    Raises:
        StatusError: the signature does not classify.
    """
    _check_method(signature, "classification", CLASSIFY_METHOD, check_method)
    inputs, outputs = signature.inputs, signature.outputs
    if len(inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(outputs) not in (1, 2):
        raise invalid_argument(f"Expected one or two output Tensors, found {len(outputs)}")
    if _INPUTS not in inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature.debug_string}")
    fetches = {role: outputs[role] for role in (_CLASSES, _SCORES) if role in outputs}
    if not fetches:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or "scores". '
            f"Signature was: {signature.debug_string}"
        )
    return Plan(inputs[_INPUTS][0], fetches)


def regression_plan(signature: Signature, check_method: bool) -> Plan:
    """The plan of a regression signature.

    Raises:
        StatusError: the signature does not regress.
    """
    _check_method(signature, "regression", REGRESS_METHOD, check_method)
    inputs, outputs = signature.inputs, signature.outputs
    if len(inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if _INPUTS not in inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature.debug_string}")
    if _OUTPUTS not in outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature.debug_string}")
    return Plan(inputs[_INPUTS][0], {_OUTPUTS: outputs[_OUTPUTS]})


def _check_method(signature: Signature, kind: str, expected: str, check_method: bool) -> None:
    method = signature.proto.method_name
    if check_method and method != expected:
        raise invalid_argument(f"Expected {kind} signature method_name to be {expected}. Was: {method}")


def _run(
    servable: Servable, given: Any, feeds: Set[str], fetches: Set[str], caller: Caller, api: str | None
) -> tuple[int, dict[str, Tensor]]:
    """Runs the graph with the examples as each of `feeds`; their number, and the outputs by tensor name."""
    examples = serialized_examples(given, servable.max_fill)
    if not examples:
        raise invalid_argument("Input is empty.")
    started = time.perf_counter()
    tensor, wanted = Tensor(DT_STRING, (len(examples),), examples), sorted(fetches)
    tensors = servable.runner.run([(feed, tensor) for feed in sorted(feeds)], wanted, caller)
    if api is not None:
        metrics.RUNTIME_LATENCY.observe((servable.model, api, "TF1"), started)
    return len(examples), dict(zip(wanted, tensors, strict=True))


def serialized_examples(given: Any, max_fill: int) -> list[bytes]:
    """The examples of an Input, each preceded by the context: the example's value of a repeated feature wins.

    Args:
        given: the Input.
        max_fill: bytes of a context in all examples, since it is sent once.

    Raises:
        StatusError: RESOURCE_EXHAUSTED for more.
    """
    kind = given.WhichOneof("kind")
    if kind == "example_list":
        return [example.SerializeToString() for example in given.example_list.examples]
    if kind == "example_list_with_context":
        shared, examples = given.example_list_with_context.context, given.example_list_with_context.examples
        check_fill(len(examples) - 1, len(examples) * shared.ByteSize(), max_fill)
        context = shared.SerializeToString()
        return [context + example.SerializeToString() for example in examples]
    return []


def classification_result(plan: Plan, count: int, outputs: Mapping[str, Tensor]) -> Any:
    """The classes of each example.

    Raises:
        StatusError: the outputs are not a classification.
    """
    classes, scores = (outputs[plan.fetches[role]] if role in plan.fetches else None for role in (_CLASSES, _SCORES))
    for tensor, role, dtype in ((classes, _CLASSES, DT_STRING), (scores, _SCORES, DT_FLOAT)):
        if tensor is not None:
            _check_classification(tensor, role, dtype, count)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            f"Tensors class and score should match in dim_size(1). Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    width = (classes or scores or Tensor(DT_FLOAT, (0, 0), [])).shape[1]
    labels: Any = classes.values if classes else [b""] * (count * width)
    values: Any = scores.values if scores else [0.0] * (count * width)
    result = classification_pb2.ClassificationResult()
    for example in range(count):
        found = result.classifications.add()
        for place in range(example * width, (example + 1) * width):
            # The message holds text; bytes that are not UTF-8 cannot be sent.
            found.classes.add(label=labels[place].decode(errors="replace"), score=values[place])
    return result


def _check_classification(tensor: Tensor, role: str, dtype: int, count: int) -> None:
    if len(tensor.shape) != 2:
        raise invalid_argument(f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(tensor.shape)}")
    if tensor.dtype != dtype:
        raise invalid_argument(f"Expected {role} Tensor of {_enum_name(dtype)}. Got: {_enum_name(tensor.dtype)}")
    if tensor.shape[0] != count:
        raise invalid_argument(f"Expected {role} output batch size of {count}. Got: {tensor.shape[0]}")


def regression_result(plan: Plan, count: int, outputs: Mapping[str, Tensor]) -> Any:
    """The value of each example.

    Raises:
        StatusError: the outputs are not a regression.
    """
    tensor = outputs[plan.fetches[_OUTPUTS]]
    shape = tensor.shape
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got " + shape_text(shape)
        )
    if shape[0] != count:
        raise invalid_argument(f"Input batch size did not match output batch size: {count} vs. {shape[0]}")
    if tensor.dtype != DT_FLOAT:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_enum_name(tensor.dtype)}")
    result = regression_pb2.RegressionResult()
    for value in tensor.values:
        result.regressions.add(value=value)
    return result


def _enum_name(dtype: int) -> str:
    return str(types_pb2.DataType.Name(dtype))
