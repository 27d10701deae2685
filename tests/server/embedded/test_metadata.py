"""States as JSON, to the byte as protocol buffers' C++ writer lays them out."""

import gc
from typing import Any

import pytest
from google.protobuf import json_format

from bench.server.embedded.api import metadata
from bench.server.embedded.api.metadata import metadata_json, status_json
from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.models.model import State, VersionStatus
from bench.serving.protos import get_model_metadata_pb2


class Version:
    """A version without signatures."""

    model = "bert"
    signature_def_map = get_model_metadata_pb2.SignatureDefMap()

    def __init__(self, version: int) -> None:
        self.version = version


def test_states_of_several_versions() -> None:
    refused = StatusError(Code.NOT_FOUND, 'Name: <unknown>, "x"\n\t\x7fé')
    text = status_json({2: VersionStatus(State.END, refused), 1: VersionStatus(State.AVAILABLE)}).decode()
    assert text == (
        '{\n "model_version_status": [\n'
        '  {\n   "version": "2",\n   "state": "END",\n   "status": {\n    "error_code": "NOT_FOUND",\n'
        '    "error_message": "Name: \\u003cunknown\\u003e, \\"x\\"\\n\\t\\u007fé"\n   }\n  },\n'
        '  {\n   "version": "1",\n   "state": "AVAILABLE",\n   "status": {\n    "error_code": "OK",\n'
        '    "error_message": ""\n   }\n  }\n ]\n}\n'
    )


@pytest.mark.parametrize("state", State)
def test_each_state_has_its_name(state: State) -> None:
    assert f'\n   "state": "{state.name}",\n' in status_json({1: VersionStatus(state)}).decode()


def test_a_versions_metadata_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def message_to_dict(message: Any, **options: Any) -> dict[str, Any]:
        written.append(message)
        return {}

    monkeypatch.setattr(json_format, "MessageToDict", message_to_dict)
    first: Any
    second: Any
    first, second = Version(1), Version(2)
    texts = [metadata_json(each).decode() for each in (first, first, second, second, first)]
    assert len(written) == 2
    assert ['"version": "1"' in text for text in texts] == [True, True, False, False, True]
    assert ['"version": "2"' in text for text in texts] == [False, False, True, True, False]


def test_a_version_that_is_gone_leaves_no_metadata() -> None:
    version: Any = Version(3)
    metadata_json(version)
    before = len(metadata._written)
    del version
    gc.collect()
    assert len(metadata._written) == before - 1
