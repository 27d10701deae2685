"""Predict: from input tensors to output tensors, both by alias (predict_util.cc and saved_model/util.cc)."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.server.embedded.api.examples import CLASSIFY_METHOD, REGRESS_METHOD
from bench.server.embedded.base import metrics
from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.models.servable import Caller, Servable
from bench.server.embedded.models.signatures import DEFAULT_SIGNATURE, Signature
from bench.server.embedded.runtime.tensors import Tensor, from_proto

Outputs = list[tuple[str, Tensor]]

_METHODS: Final = ("tensorflow/serving/predict", CLASSIFY_METHOD, REGRESS_METHOD)


def find_signature(servable: Servable, name: str) -> Signature:
    """The signature that a Predict request names; an empty name is the default.

    Raises:
        StatusError: no such signature.
    """
    key = name or DEFAULT_SIGNATURE
    found = servable.signatures.get(key)
    if found is None:
        raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{key}" not found.')
    return found


def predict(
    servable: Servable,
    signature: Signature,
    given: Mapping[str, Any],
    output_filter: Sequence[str],
    caller: Caller,
    check_method: bool = False,
) -> Outputs:
    """Runs a signature.

    Args:
        servable: the version that runs it.
        signature: one of its signatures.
        given: a Tensor or TensorProto by alias; None for values that no tensor can hold.
        output_filter: aliases of the outputs; empty for all.
        caller: the client that waits.
        check_method: whether the signature must have the name of a method.

    Raises:
        StatusError: the signature has no such method, input or output, or the runtime fails.
    """
    if check_method and signature.proto.method_name not in _METHODS:
        expected = f"Expected prediction signature method_name to be one of {{{', '.join(_METHODS)}}}"
        raise StatusError(Code.INTERNAL, f"{expected}. Was: {signature.proto.method_name}")
    feeds = _feeds(signature, given, servable.max_fill)
    fetches = _fetches(signature, output_filter)
    started = time.perf_counter()
    tensors = servable.runner.run(feeds, [name for _, name in fetches], caller)
    metrics.RUNTIME_LATENCY.observe((servable.model, "Predict", "TF1"), started)
    return [(alias, tensor) for (alias, _), tensor in zip(fetches, tensors, strict=True)]


def _feeds(signature: Signature, given: Mapping[str, Any], max_fill: int) -> list[tuple[str, Tensor]]:
    wanted, defaults = signature.inputs, signature.proto.defaults
    if len(given) > len(wanted) or (len(given) < len(wanted) and not defaults):
        raise _wrong_count(set(given), set(wanted))
    feeds = []
    for alias, (name, _) in wanted.items():
        if alias in given:
            value = given[alias]
        elif alias in defaults:
            value = defaults[alias]
        else:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {name}) not found in request and no default value "
                f"provided. Inputs expected to be in the request {{{_joined(given)}}}, or default input alias set: "
                f"{_joined(defaults)}"
            )
        tensor = value if value is None or isinstance(value, Tensor) else from_proto(value, max_fill)
        if tensor is None:
            raise invalid_argument(f"tensor parsing error: {alias}")
        feeds.append((name, tensor))
    used = set(given) & set(wanted)
    if len(used) != len(given):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_joined(used)}, request input: {_joined(given)}"
        )
    return feeds


def _wrong_count(given: set[str], wanted: set[str]) -> StatusError:
    return invalid_argument(
        f"input size does not match signature: {len(given)}!={len(wanted)} len({{{_joined(given)}}}) != "
        f"len({{{_joined(wanted)}}}). Sent extra: {{{_joined(given - wanted)}}}. Missing but required: "
        f"{{{_joined(wanted - given)}}}."
    )


def _fetches(signature: Signature, output_filter: Sequence[str]) -> list[tuple[str, str]]:
    outputs = signature.outputs
    if not output_filter:
        return list(outputs.items())
    fetches: dict[str, str] = {}
    for alias in output_filter:
        if alias not in outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_joined(outputs)}}}."
            )
        if alias in fetches:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        fetches[alias] = outputs[alias]
    return list(fetches.items())


def _joined(names: Any) -> str:
    return ",".join(sorted(names))
