"""The signatures of a model, read from its MetaGraphDef."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from google.protobuf import text_format

from bench.serving.protos import get_model_metadata_pb2, meta_graph_pb2

DEFAULT_SIGNATURE: Final = "serving_default"
# The field of MetaGraphDef that is read; the graph itself, which may be huge, is skipped.
_SIGNATURE_DEF_FIELD: Final = 5
_LENGTH_DELIMITED: Final = 2


@dataclass(frozen=True)
class Signature:
    """One signature.

    Args:
        name: its key.
        proto: the SignatureDef.
    """

    name: str
    proto: Any

    @cached_property
    def inputs(self) -> Mapping[str, tuple[str, int]]:
        """Tensor name and DataType number by alias."""
        return {alias: (info.name, info.dtype) for alias, info in sorted(self.proto.inputs.items())}

    @cached_property
    def input_types(self) -> Mapping[bytes, int]:
        """DataType number by alias in UTF-8."""
        return {alias.encode(): dtype for alias, (_, dtype) in self.inputs.items()}

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """Tensor name by alias."""
        return {alias: info.name for alias, info in sorted(self.proto.outputs.items())}

    @property
    def debug_string(self) -> str:
        """The SignatureDef as text, for messages."""
        return str(text_format.MessageToString(self.proto, as_utf8=False))


def read_signatures(meta_graph: bytes) -> dict[str, Signature]:
    """The signatures in a serialized MetaGraphDef, by key."""
    protos = meta_graph_pb2.MetaGraphDef.FromString(_signature_fields(meta_graph)).signature_def
    return {name: Signature(name, proto) for name, proto in protos.items()}


def signature_def_map(signatures: Mapping[str, Signature]) -> Any:
    """A SignatureDefMap of all."""
    found = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in signatures.items():
        found.signature_def[name].CopyFrom(signature.proto)
    return found


def _signature_fields(message: bytes) -> bytes:
    """The serialized message without its other length-delimited fields."""
    parts, at = [], 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        if tag & 7 == _LENGTH_DELIMITED:
            length, at = _varint(message, at)
            at += length
            if tag >> 3 == _SIGNATURE_DEF_FIELD:
                parts.append(message[start:at])
        else:
            _, at = _varint(message, at)
    return b"".join(parts)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
