"""Model status and metadata, as messages and as JSON (get_model_status_impl.cc, get_model_metadata_impl.cc)."""

import json
from collections.abc import Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

from google.protobuf import json_format

from bench.server.embedded.base.status import invalid_argument
from bench.server.embedded.models.model import VersionStatus
from bench.server.embedded.models.servable import Servable
from bench.serving.protos import get_model_metadata_pb2, get_model_status_pb2

SIGNATURE_DEF: Final = "signature_def"
# Each version's metadata: it never changes, and takes a millisecond of Python to write.
_written: Final[WeakKeyDictionary[Servable, bytes]] = WeakKeyDictionary()


def metadata_response(servable: Servable) -> Any:
    """The GetModelMetadataResponse of a version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.model
    response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_DEF].Pack(servable.signature_def_map)
    return response


def check_metadata_fields(fields: Any) -> None:
    """Checks the fields of a metadata request.

    Raises:
        StatusError: no field, or a field other than `signature_def`.
    """
    if not fields:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for name in fields:
        if name != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {name} is not supported")


def metadata_json(servable: Servable) -> bytes:
    """The metadata as JSON, with unset fields."""
    written = _written.get(servable)
    if written is None:
        written = _written[servable] = _metadata_json(servable)
    return written


def _metadata_json(servable: Servable) -> bytes:
    spec = {"name": servable.model, "signature_name": "", "version": str(servable.version)}
    return b'{\n"model_spec":%s,\n"metadata": {"%s": %s}\n}\n' % (
        _text(spec),
        SIGNATURE_DEF.encode(),
        _text(_to_dict(servable.signature_def_map)),
    )


def status_response(statuses: Mapping[int, VersionStatus]) -> Any:
    """The GetModelStatusResponse of versions."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, status in statuses.items():
        entry = response.model_version_status.add(version=version, state=status.state.value)
        entry.status.SetInParent()
        if status.error is not None:
            entry.status.error_code = status.error.code.value
            entry.status.error_message = status.error.message
    return response


def status_json(statuses: Mapping[int, VersionStatus]) -> bytes:
    """The states as JSON."""
    return _text(_to_dict(status_response(statuses)))


def _to_dict(message: Any) -> Any:
    """A message as JSON values, with unset fields."""
    return json_format.MessageToDict(message, including_default_value_fields=True, preserving_proto_field_name=True)


def _text(value: Any) -> bytes:
    """JSON in the layout of C++ protocol buffers: one blank per level, a final line feed, `<` and `>` escaped."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("\x7f", r"\u007f").encode() + b"\n"
