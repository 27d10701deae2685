"""From a `:predict` body to tensors, with the checks of json_tensor.cc in their order and Serving's error texts.

`json_fast` reads bodies that are certainly valid; this module reads all others.
"""

import binascii
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

import numpy as np

from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.rest.json_reader import JsonError, JsonObject, parse
from bench.server.embedded.rest.json_writer import echo
from bench.server.embedded.runtime.tensors import (
    DT_STRING,
    DTYPES,
    MAX_DIMENSIONS,
    Tensor,
    dtype_name,
    filled,
    shape_text,
)
from bench.serving.protos import types_pb2

# The dimensions and values of a body's lists and scalars; the number of values may differ from the dimensions.
Dense = tuple[tuple[int, ...], list[Any]]

_SMALL_INTEGERS: Final = (types_pb2.DT_INT32, types_pb2.DT_INT16, types_pb2.DT_INT8, types_pb2.DT_UINT8)
_INT32: Final = (-(1 << 31), (1 << 31) - 1)
INTEGER_RANGES: Final[dict[int, tuple[int, int]]] = {
    **dict.fromkeys(_SMALL_INTEGERS, _INT32),
    types_pb2.DT_INT64: (-(1 << 63), (1 << 63) - 1),
    types_pb2.DT_UINT32: (0, (1 << 32) - 1),
    types_pb2.DT_UINT64: (0, (1 << 64) - 1),
}
FLOATS: Final = (types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE)
_TYPE_NAMES: Final = {int: "Number", float: "Number", bytes: "String", list: "Array", JsonObject: "Object"}
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*")
_BLANK: Final = re.compile(rb"[ \t\n\v\f\r]+")


class Layout(Enum):
    """The layout of a body's tensors, and of the answer's."""

    ROW = "predictions"
    COLUMNAR = "outputs"


def parse_object(body: bytes) -> JsonObject:
    """Parses a body as a JSON object.

    Raises:
        StatusError: it is not JSON, or not an object.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        document = parse(body)
    except JsonError as error:
        raise invalid_argument(f"JSON Parse error: {error}") from None
    if type(document) is not JsonObject:
        raise refused(document, b"Is not object")
    return document


def signature_name(document: JsonObject) -> str:
    """The signature that a body names; an empty name is the default."""
    if b"signature_name" not in document:
        return ""
    name = document[b"signature_name"]
    if type(name) is not bytes:
        raise invalid_argument(
            b"JSON Value: " + echo(document) + b" not formatted correctly. 'signature_name' key must be a string value."
        )
    return name.decode(errors="surrogateescape")


def predict_inputs(
    document: JsonObject, types: Mapping[bytes, int], name: str
) -> tuple[Layout, dict[str, Tensor | None]]:
    """The tensors of a body.

    Args:
        document: the body.
        types: DataType number by alias of the signature's inputs.
        name: the signature's name, for the message; empty for the default.

    Returns:
        The layout, and the tensor by alias; None for values that no tensor can hold (more than 254 dimensions).

    Raises:
        StatusError: the body is not valid.
    """
    if not types:
        raise invalid_argument(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    rows, columns = b"instances" in document, b"inputs" in document
    if rows and columns:
        raise refused(document, b"Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ")
    if columns:
        return Layout.COLUMNAR, _tensors(_columns(document[b"inputs"], types), types)
    if not rows:
        raise invalid_argument("Missing 'inputs' or 'instances' key")
    instances = document[b"instances"]
    if type(instances) is not list:
        raise refused(document, b"Expecting 'instances' to be an list/array")
    if not instances:
        raise refused(document, b"No values in 'instances' array")
    return Layout.ROW, _tensors(_Rows(types).read(instances), types)


def refused(value: Any, reason: bytes) -> StatusError:
    """An INVALID_ARGUMENT error that repeats a value."""
    return invalid_argument(b"JSON Value: " + echo(value) + b" " + reason)


def type_name(value: Any) -> str:
    """RapidJSON's name of a value's type."""
    if value is None:
        return "Null"
    return str(value) if isinstance(value, bool) else _TYPE_NAMES[type(value)]


def is_base64(value: Any) -> bool:
    """Whether a value is an object whose only member is a string `b64`."""
    return type(value) is JsonObject and value.names == [b"b64"] and type(value.values[0]) is bytes


def decode_base64(value: JsonObject) -> bytes:
    """The bytes of `{"b64": …}` (absl::Base64Unescape: blanks anywhere, padding complete or absent).

    Raises:
        StatusError: not such an object, or not base64.
    """
    if not is_base64(value):
        raise invalid_argument(b"JSON Value: " + echo(value) + b" not formatted correctly for base64 data")
    text = _BLANK.sub(b"", value.values[0])
    bare = text.rstrip(b"=.")
    missing = -len(bare) % 4
    if missing == 3 or not _BASE64.fullmatch(bare) or len(text) - len(bare) not in (0, missing):
        raise invalid_argument("Unable to base64 decode")
    return binascii.a2b_base64(bare + b"=" * missing)


def _columns(value: Any, types: Mapping[bytes, int]) -> dict[bytes, Dense]:
    """`inputs`: an object of tensors, or a single tensor (FillTensorMapFromInputsMap)."""
    if type(value) is not JsonObject or is_base64(value):
        if len(types) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        ((alias, dtype),) = types.items()
        return {alias: _dense(value, dtype)}
    found = {}
    for alias, dtype in types.items():
        if alias not in value:
            raise invalid_argument(b"Missing named input: " + alias + b" in 'inputs' object.")
        found[alias] = _dense(value[alias], dtype)
    return found


class _Rows:
    """`instances`: one object per row, or one value per row for a single input (FillTensorMapFromInstancesList)."""

    def __init__(self, types: Mapping[bytes, int]) -> None:
        self._types = types
        self._first: dict[bytes, tuple[int, tuple[int, ...]]] = {}
        self._values: dict[bytes, list[Any]] = {}

    def read(self, instances: list[Any]) -> dict[bytes, Dense]:
        if type(instances[0]) is not JsonObject and len(self._types) > 1:
            raise invalid_argument(
                "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
                "tensorinfo_map"
            )
        objects = _is_row_object(instances[0])
        for place, item in enumerate(instances):
            if _is_row_object(item) != objects:
                raise invalid_argument(
                    f"Expecting object but got list at item {place} of input list"
                    if objects
                    else f"Expecting value/list but got object at item {place} of input list"
                )
            if objects:
                self._add_object(place, item)
            else:
                self._add_value(place, item)
        return {alias: ((len(instances), *self._first[alias][1]), values) for alias, values in self._values.items()}

    def _add_object(self, place: int, item: JsonObject) -> None:
        names = set()
        for name, value in zip(item.names, item.values, strict=True):
            # A C string, which ends at a NUL.
            alias = name.partition(b"\0")[0]
            names.add(alias)
            self._add(
                alias, value, b"Failed to process element: %d key: %s of 'instances' list. Error: " % (place, alias)
            )
        if names != set(self._types):
            raise invalid_argument(
                b"Failed to process element: %d of 'instances' list. JSON object: %s keys must be equal to: %s"
                % (place, echo(item), b",".join(sorted(self._types)))
            )

    def _add_value(self, place: int, item: Any) -> None:
        alias = next(iter(self._types))
        self._add(alias, item, b"Failed to process element: %d of 'instances' list. Error: " % place)

    def _add(self, alias: bytes, value: Any, prefix: bytes) -> None:
        try:
            self._add_item(alias, value)
        except StatusError as error:
            raise invalid_argument(prefix + error.described) from None

    def _add_item(self, alias: bytes, value: Any) -> None:
        """Adds one row of an input; all rows must have the shape of the first (AddInstanceItem)."""
        if alias not in self._types:
            raise invalid_argument(b"JSON object: does not have named input: " + alias)
        shape, values = _dense(value, self._types[alias])
        size, expected = self._first.setdefault(alias, (len(values), shape))
        self._values.setdefault(alias, []).extend(values)
        if len(values) != size:
            raise invalid_argument(f"Expecting tensor size: {size} but got: {len(values)}")
        if shape != expected:
            raise invalid_argument(f"Expecting shape {shape_text(expected)} but got: {shape_text(shape)}")


def _is_row_object(value: Any) -> bool:
    return type(value) is JsonObject and not is_base64(value)


def _dense(root: Any, dtype: int) -> Dense:
    """The shape, by the first item of each level, and the values, checked against it (FillTensorProto)."""
    shape: list[int] = []
    level = root
    while type(level) is list:
        shape.append(len(level))
        if not level:
            break
        level = level[0]
    convert = _converter(dtype)
    values: list[Any] = []
    open_lists = [iter((root,))]
    while open_lists:
        depth = len(open_lists) - 1
        value = next(open_lists[-1], open_lists)
        if value is open_lists:
            open_lists.pop()
        elif type(value) is not list:
            if depth != len(shape):
                raise invalid_argument(
                    b"JSON Value: %s found at incorrect level: %d in the JSON DOM. Expected at level: %d"
                    % (echo(value), depth + 1, len(shape))
                )
            values.append(convert(value))
        elif depth >= len(shape):
            raise invalid_argument(f"Encountered list at unexpected level: {depth} expected < {len(shape)}")
        elif len(value) != shape[depth]:
            raise invalid_argument(
                f"Encountered list at unexpected size: {len(value)} at level: {depth} expected size: {shape[depth]}"
            )
        else:
            open_lists.append(iter(value))
    return tuple(shape), values


def _converter(dtype: int) -> Callable[[Any], Any]:
    """Checks and converts one value for a type (AddValueToTensor)."""

    def wrong(value: Any) -> StatusError:
        return invalid_argument(
            b"JSON Value: %s Type: %s is not of expected type: %s"
            % (echo(value), type_name(value).encode(), dtype_name(dtype).encode())
        )

    low, high = INTEGER_RANGES.get(dtype, (0, 0))

    def convert(value: Any) -> Any:
        kind = type(value)
        if dtype == DT_STRING:
            if kind is JsonObject:
                return decode_base64(value)
            valid = kind is bytes
        elif kind is JsonObject:
            valid = False
        elif dtype in FLOATS:
            valid = kind is float or kind is int
        elif dtype in INTEGER_RANGES:
            valid = kind is int and low <= value <= high
        elif dtype == types_pb2.DT_BOOL:
            valid = kind is bool
        else:
            message = b"Conversion of JSON Value: %s to type: %s" % (echo(value), dtype_name(dtype).encode())
            raise StatusError(Code.UNIMPLEMENTED, message)
        if not valid:
            raise wrong(value)
        return value

    return convert


def _tensors(found: Mapping[bytes, Dense], types: Mapping[bytes, int]) -> dict[str, Tensor | None]:
    return {alias.decode(): _tensor(types[alias], *dense) for alias, dense in found.items()}


def _tensor(dtype: int, shape: tuple[int, ...], values: list[Any]) -> Tensor | None:
    """The tensor as Tensor::FromProto makes it: a repeated name in a row leaves surplus values, which are dropped."""
    size = 1
    for dimension in shape:
        size *= dimension
    if len(shape) > MAX_DIMENSIONS:
        return None
    if dtype == DT_STRING:
        return Tensor(dtype, shape, values[:size])
    if dtype not in DTYPES:
        return None
    array = DTYPES[dtype].array
    if dtype in FLOATS:
        with np.errstate(over="ignore"):
            flat = np.array(values, np.float64).astype(array)
    elif dtype in _SMALL_INTEGERS:
        flat = np.array(values, np.int32).astype(array)
    else:
        flat = np.array(values, array)
    return Tensor(dtype, shape, filled(flat, size))
