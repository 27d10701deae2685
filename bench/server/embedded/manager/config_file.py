"""The model config file, read again and again (PollFilesystemAndReloadConfig in server.cc)."""

import threading
import time
from pathlib import Path
from typing import Any

from bench.server.embedded.base.log import log
from bench.server.embedded.base.status import Code, PrintedFaults, StartError, StatusError
from bench.server.embedded.config.model_config import read_model_server_config
from bench.server.embedded.manager.model_manager import InEffectError, ModelManager
from bench.server.embedded.models.servable import Caller


class UntilStopped(Caller):
    """The process itself, which waits for models until it is stopped."""

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__()
        self._stopping = stopping

    def cancelled(self) -> bool:
        return self._stopping.is_set()


class _UntilChanged(UntilStopped):
    """Waits for the models of a file's config until the file holds something else: they may never serve."""

    def __init__(self, stopping: threading.Event, path: Path, seconds: float) -> None:
        super().__init__(stopping)
        self._path = path
        self._seconds = seconds
        self._content = _content(path)
        self._due = time.monotonic() + seconds
        self._changed = False

    def cancelled(self) -> bool:
        if not self._changed and time.monotonic() >= self._due:
            self._changed = _content(self._path) != self._content
            self._due = time.monotonic() + self._seconds
        return self._changed or super().cancelled()


class ConfigFile:
    """Applies each version of the model config file.

    Args:
        path: the file.
        config: the ModelServerConfig in effect.
        manager: takes the configs.
        seconds: between two looks at the file.
        stopping: set when the server stops.
    """

    def __init__(
        self, path: Path, config: Any, manager: ModelManager, seconds: float, stopping: threading.Event
    ) -> None:
        self._path = path
        # None where the manager may have another one.
        self._config = config
        self._manager = manager
        self._seconds = seconds
        self._stopping = stopping

    def follow(self) -> None:
        """Polls the file until the server stops, in a thread of its own."""

        def follow() -> None:
            while not self._stopping.wait(self._seconds):
                # Whatever a file holds, the next one is read.
                with PrintedFaults():
                    self.poll()

        threading.Thread(target=follow, name="model_config_poll", daemon=True).start()

    def poll(self) -> None:
        """Reads the file, and applies a new config; logs one that is not valid or whose models do not load."""
        caller = _UntilChanged(self._stopping, self._path, self._seconds)
        try:
            config = read_model_server_config(self._path)
            # A reload by a client lasts until the next poll, as in Serving, which applies the file at every one.
            if config == self._config and self._manager.has_config(config):
                return
            self._config = None
            self._manager.reload(config, caller)
            self._config = config
        except (StartError, StatusError) as error:
            if isinstance(error, StatusError) and error.code is Code.CANCELLED:
                # The next poll reads what is there now.
                if not self._stopping.is_set():
                    log("warning: no longer waiting for the models of the model config file, which has changed")
                return
            log(_failure(error))
            if isinstance(error, InEffectError):
                log(f"warning: the model config file is in effect, but not all of it: {error}")
            else:
                log(f"warning: cannot apply the model config file, the last one stays in effect: {error}")


def _content(path: Path) -> bytes | None:
    """What a file holds; None if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _failure(error: StartError | StatusError) -> str:
    """The message of tensorflow_model_server for a config file that it cannot reload (server.cc)."""
    if isinstance(error, StatusError):
        return f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error.message}"
    return f"Failed to read ModelServerConfig file: {error.status.message if error.status else error}"
