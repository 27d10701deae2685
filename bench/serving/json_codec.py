"""The JSON of Serving's REST endpoint: encodes requests, decodes answers.

Serving writes and reads the tokens NaN, Infinity and -Infinity, which are not JSON and which orjson refuses; the
standard library handles bodies with them.
"""

import base64
import json
import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from bench.core.errors import printable
from bench.serving.errors import InvalidResponse
from bench.serving.tensors import check_outputs
from bench.serving.types import ModelMetadata, PredictRequest, SignatureInfo, TensorInfo, VersionStatus

# Bytes of an error's body that are read; one line is shown.
_MAX_ERROR_TEXT: Final = 1 << 16
# Bytes in which the longest value of a header ends, escaped, if it begins in what is shown.
_QUOTED: Final = 1 << 17
# What reading a value of another form raises; an infinite number where a whole one is read is an OverflowError.
_MALFORMED: Final = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


class BodyForm(StrEnum):
    """The layout of tensors in a body: `instances`, one object per row, or `inputs`, one list per tensor."""

    ROW = "row"
    COLUMNAR = "columnar"


def dumps(value: Any) -> bytes:
    """Compact JSON: numpy arrays become lists, bytes `{"b64": …}`, non-finite floats Serving's tokens."""
    if _has_non_finite(value):
        return json.dumps(value, separators=(",", ":"), default=_plain).encode()
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def loads(body: bytes) -> Any:
    """The value of a body, NaN and Infinity tokens included.

    Raises:
        InvalidResponse: not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _unreadable("the answer is not JSON ({}); is this TensorFlow Serving's REST port?", body) from error


def predict_body(request: PredictRequest, form: BodyForm = BodyForm.ROW) -> bytes:
    """The body of a POST to `:predict`.

    Row form needs equal first dimensions; only columnar form can hold inputs of rank 0.

    Raises:
        ValueError: row form cannot hold the inputs.
    """
    inputs = {name: np.ascontiguousarray(array) if array.ndim else array for name, array in request.inputs.items()}
    if form is BodyForm.COLUMNAR:
        return dumps({"signature_name": request.signature, "inputs": inputs})
    lengths = {array.shape[0] if array.ndim else None for array in inputs.values()}
    if len(lengths) != 1 or None in lengths:
        raise ValueError("row form needs inputs with equal first dimensions")
    (rows,) = lengths
    instances = [{name: array[row] for name, array in inputs.items()} for row in range(rows or 0)]
    return dumps({"signature_name": request.signature, "instances": instances})


def predict_outputs(body: bytes) -> dict[str, NDArray[Any]]:
    """Outputs by alias. A single output has no name in the answer: its key is "".

    Raises:
        InvalidResponse: not an answer of `:predict`.
    """
    value = loads(body)
    try:
        key = "outputs" if "outputs" in value else "predictions"
        answer = value[key]
        texts = _texts(item for item in value.items() if item[0] != key) if len(value) > 1 else 0
        if key == "outputs" and isinstance(answer, dict) and "b64" not in answer:
            check_outputs(len(answer))
            return {name: _column(column, body, texts + len(answer)) for name, column in answer.items()}
        if key == "predictions" and isinstance(answer, list) and answer and _is_row(answer[0]):
            check_outputs(len(answer[0]))
            texts += len(answer) * len(answer[0])
            return {name: _column([row[name] for row in answer], body, texts) for name in answer[0]}
        return {"": _column(answer, body, texts)}
    except _MALFORMED as error:
        raise _unreadable("the answer is not an answer of :predict ({}); check the address", body) from error


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and "b64" not in value


def _texts(values: Iterable[Any]) -> int:
    """Number of texts in values, keys included, at any depth."""
    found, waiting = 0, list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found += 1
        elif isinstance(value, dict):
            waiting += value
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return found


def error_text(body: bytes) -> str:
    """The text of an error answer, on one line of at most 200 characters; empty without one."""
    body = body[:_MAX_ERROR_TEXT]
    try:
        value = loads(body)
    except InvalidResponse:
        value = None
    said = value.get("error") if isinstance(value, dict) else None
    text = said if isinstance(said, str) else body.decode(errors="replace")
    return printable(text, 200)


def _unreadable(form: str, body: bytes) -> InvalidResponse:
    """The error of an unexpected answer, whose beginning is in its message."""
    return InvalidResponse.quoting(form, body[:_QUOTED].decode("latin-1"), _begin)


def _begin(text: str) -> str:
    """The beginning of an answer, which has a character a byte, for a message."""
    return repr(printable(text[:240].encode("latin-1", "replace").decode(errors="replace"), 60))


def version_status(body: bytes) -> tuple[VersionStatus, ...]:
    """The answer of `GET /v1/models/NAME`.

    Raises:
        InvalidResponse: not such an answer.
    """
    try:
        return tuple(
            VersionStatus(
                version=int(entry["version"]),
                state=_string(entry["state"]),
                error_code=entry["status"]["error_code"],
                error_message=_string(entry["status"].get("error_message", "")),
            )
            for entry in loads(body)["model_version_status"]
        )
    except _MALFORMED as error:
        raise _unreadable("the answer is not a model status ({}); check the address", body) from error


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not a text")
    return value


def model_metadata(body: bytes) -> ModelMetadata:
    """The answer of `GET /v1/models/NAME/metadata`.

    Raises:
        InvalidResponse: not such an answer.
    """
    try:
        value = loads(body)
        signatures = value["metadata"]["signature_def"]["signature_def"]
        return ModelMetadata(
            model=value["model_spec"]["name"],
            version=int(value["model_spec"]["version"]),
            signatures={name: _signature(entry) for name, entry in signatures.items()},
        )
    except _MALFORMED as error:
        raise _unreadable("the answer is not model metadata ({}); check the address", body) from error


def _signature(entry: Mapping[str, Any]) -> SignatureInfo:
    return SignatureInfo(
        method_name=entry["method_name"],
        inputs={name: _tensor_info(name, info) for name, info in entry["inputs"].items()},
        outputs={name: _tensor_info(name, info) for name, info in entry["outputs"].items()},
    )


def _tensor_info(name: str, info: Mapping[str, Any]) -> TensorInfo:
    shape = info["tensor_shape"]
    dims = None if shape["unknown_rank"] else tuple(int(dim["size"]) for dim in shape["dim"])
    return TensorInfo(name, info["dtype"], dims)


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_has_non_finite(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_non_finite(item) for item in value)
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind == "f" and not bool(np.isfinite(value).all())
    return isinstance(value, float) and not np.isfinite(value)


def _plain(value: Any) -> Any:
    """Converts what the encoders do not support: string arrays, bytes and, in the standard library, numpy values."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _column(value: Any, body: bytes, others: int) -> NDArray[Any]:
    """A column of numbers, strings or `{"b64": …}` as an array; ragged lists raise ValueError.

    Args:
        value: as it was decoded.
        body: the answer, whose texts have two quotes each, and more where one is escaped.
        others: texts in it that are not in a column, keys included, beside the outermost one.
    """
    if body.count(b'"') != 2 * (1 + others):
        # Texts are objects: an array of numpy's own strings has the longest one's size for each.
        array = np.array(value, object)
        if any(isinstance(item, str | list) for item in array.ravel()):
            return _objects(array)
    array = np.asarray(value)
    return array if array.dtype.kind != "O" else _objects(array)


def _objects(array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(np.frompyfunc(_unwrap, 1, 1)(array), None if array.ndim else object)
    if all(isinstance(item, int | float) for item in array.ravel()):
        # Whole numbers of more than 64 bits.
        return np.asarray(np.frompyfunc(_float, 1, 1)(array), np.float64)
    return array


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _unwrap(value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError("ragged lists")
    return base64.b64decode(value["b64"], validate=True) if isinstance(value, dict) else value
