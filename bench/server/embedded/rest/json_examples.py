"""From bodies of `:classify` and `:regress` to `tf.Example`s (MakeExampleFromJsonObject in json_tensor.cc)."""

from typing import Any, Final

from bench.server.embedded.base.limits import INT64_MAX
from bench.server.embedded.base.status import StatusError, invalid_argument
from bench.server.embedded.rest.json_reader import JsonObject
from bench.server.embedded.rest.json_request import decode_base64, is_base64, refused, signature_name, type_name
from bench.serving.protos import classification_pb2, regression_pb2

_KINDS: Final = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def classification_request(document: JsonObject) -> Any:
    """The ClassificationRequest of a body; its ModelSpec has only the signature's name.

    Raises:
        StatusError: the body is not valid.
    """
    return _filled(document, classification_pb2.ClassificationRequest())


def regression_request(document: JsonObject) -> Any:
    """The RegressionRequest of a body; raises as `classification_request`."""
    return _filled(document, regression_pb2.RegressionRequest())


def _filled(document: JsonObject, request: Any) -> Any:
    request.model_spec.signature_name = (
        signature_name(document).encode(errors="surrogateescape").decode(errors="replace")
    )
    target = request.input.example_list
    if b"context" in document:
        target = request.input.example_list_with_context
        _fill_example(document[b"context"], target.context)
    if b"examples" not in document:
        raise refused(document, b"When method is classify, key 'examples' is expected and was not found")
    examples = document[b"examples"]
    if type(examples) is not list:
        raise refused(document, b"Expecting 'examples' value to be an list/array")
    if not examples:
        raise refused(document, b"'examples' value is an empty array")
    for example in examples:
        _fill_example(example, target.examples.add())
    return request


def _fill_example(value: Any, example: Any) -> None:
    if type(value) is not JsonObject:
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    # Present even without a feature.
    example.SetInParent()
    for name, content in zip(value.names, value.values, strict=True):
        alias = name.partition(b"\0")[0]
        # The last value of a repeated feature wins.
        feature = example.features.feature[alias.decode(errors="replace")]
        feature.Clear()
        for item in content if type(content) is list else (content,):
            _add_value(item, alias, feature)


def _add_value(value: Any, name: bytes, feature: Any) -> None:
    """Adds a value to the list of its kind; all values of a feature have one kind (AddValueToFeature)."""
    kind = type(value)
    if kind is bool:
        _list(feature, "int64_list", name).append(int(value))
    elif kind is bytes:
        _list(feature, "bytes_list", name).append(value)
    elif is_base64(value):
        _list(feature, "bytes_list", name).append(decode_base64(value))
    elif kind is float:
        _list(feature, "float_list", name).append(value)
    elif kind is int:
        values = _list(feature, "int64_list", name)
        if value > INT64_MAX:
            raise invalid_argument(b"Feature: " + name + b" has uint64 element. Only int64 is supported.")
        values.append(value)
    else:
        raise invalid_argument(
            b"Feature: %s has element with unexpected JSON type: %s" % (name, type_name(value).encode())
        )


def _list(feature: Any, kind: str, name: bytes) -> Any:
    """The feature's list of a kind, which is created if the feature has none."""
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise _mixed(name, present)
    return getattr(feature, kind).value


def _mixed(name: bytes, present: str) -> StatusError:
    return invalid_argument(
        b"Unexpected element type in feature: %s expecting type: %s" % (name, _KINDS[present].encode())
    )
