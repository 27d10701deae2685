"""States as JSON, to the byte as protocol buffers' C++ writer lays them out."""

import pytest

from bench.server.embedded.api.metadata import status_json
from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.models.model import State, VersionStatus


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
