"""The folders of the configured models, polled for versions (file_system_storage_path_source.cc)."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.server.embedded.base.log import log
from bench.server.embedded.models.model import Model
from bench.server.embedded.models.versions import VersionPolicy, read_policy, versions_on_disk

_WARN_AGAIN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class _Watched:
    name: str
    base_path: str
    policy: VersionPolicy


class BasePaths:
    """What the models of a config have on disk. Its methods exclude each other by a lock of the caller."""

    def __init__(self) -> None:
        self._watched: Sequence[_Watched] = ()
        self._warned: dict[str, tuple[str, float]] = {}

    def watch(self, entries: Any) -> None:
        """Sets the entries of the config whose folders are polled."""
        # Read once: a policy may list many versions, and polls are frequent.
        self._watched = [
            _Watched(entry.name, entry.base_path, read_policy(entry.model_version_policy)) for entry in entries
        ]
        self._warned = {entry.name: self._warned[entry.name] for entry in entries if entry.name in self._warned}

    def poll(self, models: Mapping[str, Model]) -> None:
        """Lists the versions on disk and passes the wanted ones to the models."""
        for entry in self._watched:
            try:
                found = versions_on_disk(Path(entry.base_path.removeprefix("file://")))
            except (OSError, ValueError) as error:
                # A path may be anything: a ValueError is one that no system has.
                reason = error.strerror if isinstance(error, OSError) else error
                self._warn(entry.name, f"Could not find base path {entry.base_path} ({reason})")
                continue
            wanted = entry.policy.wanted(found)
            if wanted:
                self._warned.pop(entry.name, None)
            else:
                self._warn(entry.name, f"No versions of servable {entry.name} found under {entry.base_path}")
            models[entry.name].want({version: found[version] for version in wanted})

    def _warn(self, name: str, reason: str) -> None:
        """Logs why a model has nothing to serve; the same reason once a minute."""
        last, when = self._warned.get(name, ("", 0.0))
        now = time.monotonic()
        if reason != last or now - when > _WARN_AGAIN_SECONDS:
            self._warned[name] = (reason, now)
            log(f"warning: {reason}; waiting for a version folder in it")
