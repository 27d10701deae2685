"""What a config of models must keep to: Serving's rules with its texts (server_core.cc), and limits of this server."""

import contextlib
from typing import Any, Final

from bench.server.embedded.base.status import Code, StatusError, invalid_argument
from bench.server.embedded.config.model_config import PLATFORM
from bench.serving.protos import model_server_config_pb2

NO_REQUEST_LOGS: Final = "No request-logger-creator provided."
"""What Serving says of a `logging_config`: the server is built without anything that logs requests."""
# Each has a thread.
MAX_MODELS: Final = 1000
# Each is looked up whenever the disk is polled.
_MAX_VERSIONS: Final = 1000
# Bytes; no system opens a longer one. It is kept and logged.
_MAX_PATH: Final = 4096


def check_list(entries: Any) -> None:
    """Refuses a duplicate name, a relative or very long path, and more models or versions than there may be.

    Raises:
        StatusError: INVALID_ARGUMENT, or RESOURCE_EXHAUSTED above a limit.
    """
    if len(entries) > MAX_MODELS:
        raise StatusError(Code.RESOURCE_EXHAUSTED, f"the config lists {len(entries)} models; {MAX_MODELS} at most")
    for entry in entries:
        if (versions := len(entry.model_version_policy.specific.versions)) > _MAX_VERSIONS:
            text = f"the config lists {versions} versions of model {entry.name}; {_MAX_VERSIONS} at most"
            raise StatusError(Code.RESOURCE_EXHAUSTED, text)
        if (length := len(entry.base_path.encode())) > _MAX_PATH:
            text = f"the base_path of model {entry.name} has {length} bytes; {_MAX_PATH} at most"
            raise StatusError(Code.RESOURCE_EXHAUSTED, text)
    names = set()
    for entry in entries:
        if entry.name in names:
            raise invalid_argument(f"Illegal to list model {entry.name} multiple times in config list")
        names.add(entry.name)
    for entry in entries:
        if not entry.base_path.startswith("/") and "://" not in entry.base_path:
            raise invalid_argument(
                f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}"
            )


def check_no_platform_changes(old: Any, new: Any) -> None:
    """Refuses a changed platform of a model that remains, if the old config gave it one.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    before = {}
    for entry in old:
        # The old config may be one that was refused for this; the binary then refuses all that follow.
        with contextlib.suppress(StatusError):
            before[entry.name] = _platform(entry)
    for entry in new:
        if entry.name in before and (platform := _platform(entry)) != before[entry.name]:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {entry.name} platform was {before[entry.name]} and "
                f"new platform requested is {platform}"
            )


def check_platforms(entries: Any) -> None:
    """Refuses platforms other than TensorFlow.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    for entry in entries:
        if (platform := _platform(entry)) != PLATFORM:
            raise invalid_argument(f"Model {entry.name} requests unsupported platform {platform}")


def _platform(entry: Any) -> str:
    if entry.model_type:
        if entry.model_platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform."
            )
        if entry.model_type != model_server_config_pb2.TENSORFLOW:
            raise invalid_argument(f"ModelServerConfig::model_type choice {entry.model_type} not supported.")
        return PLATFORM
    if not entry.model_platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform."
        )
    return str(entry.model_platform)
