"""The configured models: loaded as the disk changes, and found for requests (server_core.cc)."""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.server.embedded.base.status import Code, PrintedFaults, StatusError, invalid_argument
from bench.server.embedded.config.model_config import BatchingParameters
from bench.server.embedded.manager.base_paths import BasePaths
from bench.server.embedded.manager.config_checks import (
    MAX_MODELS,
    NO_REQUEST_LOGS,
    check_list,
    check_no_platform_changes,
    check_platforms,
)
from bench.server.embedded.manager.warmup import warm_up
from bench.server.embedded.models.batching import BatchingRunner, Scheduler
from bench.server.embedded.models.model import Model, RetryPolicy, VersionStatus
from bench.server.embedded.models.servable import Caller, Servable
from bench.server.embedded.runtime.session import SessionOptions
from bench.serving.protos import model_server_config_pb2

# Models that were unloaded are known as long as they are among the last ones.
_MAX_MODELS_OVER: Final = 100
# Those of a config and of earlier ones, each with a thread and maybe a version that loads.
_MAX_KNOWN: Final = MAX_MODELS + _MAX_MODELS_OVER
# A reload may wait for its models without end, each in a thread of the endpoint.
_MAX_RELOADS: Final = 2
_LOOK_AGAIN_SECONDS: Final = 0.2


@dataclass(frozen=True)
class ManagerOptions:
    """How models are loaded and found.

    Args:
        tags: the meta graph's tags.
        session: threads and memory of sessions.
        batching: None runs each request on its own.
        warmup_iterations: runs of each recorded request before a version serves; 0 for none.
        retry: policy for versions that do not load.
        poll_seconds: seconds between polls of the disk; 0 for a single poll, negative for none.
        labels_for_unavailable: whether a new label may point to a version that does not serve.
        force_labels_for_unavailable: whether any label may.
        max_fill: bytes of the largest tensor with values that are not in its request.
    """

    tags: tuple[str, ...] = ("serve",)
    session: SessionOptions = field(default_factory=SessionOptions)
    batching: BatchingParameters | None = None
    warmup_iterations: int = 1
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    poll_seconds: float = 1.0
    labels_for_unavailable: bool = False
    force_labels_for_unavailable: bool = False
    max_fill: int = 64 << 20


class InEffectError(StatusError):
    """A config is in effect, and not all that it asks for."""


class ModelManager:
    """All models of a server.

    Args:
        options: see ManagerOptions.
    """

    def __init__(self, options: ManagerOptions) -> None:
        self._options = options
        self._scheduler = Scheduler(options.batching) if options.batching else None
        self._changed = threading.Condition()
        self._reloading = threading.Lock()
        self._reloads = threading.BoundedSemaphore(_MAX_RELOADS)
        # Taken after the one of reloads.
        self._polling = threading.Lock()
        # The entries of the last config; others are polled after a config whose models were refused.
        self._configured: Any = ()
        self._paths = BasePaths()
        self._models: Mapping[str, Model] = {}
        self._labels: Mapping[str, Mapping[str, int]] = {}
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None
        self._has_started = False

    # Configuration

    def reload(self, config: Any, caller: Caller) -> None:
        """Applies a ModelServerConfig and waits until its new models serve.

        Raises:
            InEffectError: a model does not load, or requests are to be logged.
            StatusError: the config is refused, or the caller no longer waits.
        """
        if not self._reloads.acquire(blocking=False):
            raise StatusError(Code.RESOURCE_EXHAUSTED, f"{_MAX_RELOADS} reloads of the config are in progress already")
        try:
            with self._held(self._reloading, caller):
                self._reload(config, caller)
        finally:
            self._reloads.release()

    def has_config(self, config: Any) -> bool:
        """Whether a ModelServerConfig is the last one that was applied."""
        return list(self._configured) == list(config.model_config_list.config)

    @contextlib.contextmanager
    def _held(self, lock: threading.Lock, caller: Caller) -> Iterator[None]:
        """Holds a lock, for which the caller waits no longer than it would for the models."""
        while not lock.acquire(timeout=_LOOK_AGAIN_SECONDS):
            self._check_waiting(caller)
        try:
            yield
        finally:
            lock.release()

    def _reload(self, config: Any, caller: Caller) -> None:
        if config.WhichOneof("config") != "model_config_list":
            if config.WhichOneof("config") is None:
                return
            raise StatusError(Code.FAILED_PRECONDITION, "Custom model configs are not supported by this server")
        entries = model_server_config_pb2.ModelServerConfig.FromString(
            config.SerializeToString()
        ).model_config_list.config
        check_list(entries)
        # A poll in between would give versions to a model that the config has just removed.
        with self._held(self._polling, caller):
            new = self._apply(entries)
        self._start_watching()
        self._wait_for(new, caller)
        self._has_started = True
        if any(entry.HasField("logging_config") for entry in entries):
            raise InEffectError(Code.INVALID_ARGUMENT, NO_REQUEST_LOGS)

    def _apply(self, entries: Any) -> list[Model]:
        """Puts a config into effect; the models to wait for."""
        names = {entry.name for entry in entries}
        self._check_room(names)
        check_no_platform_changes(self._configured, entries)
        # Serving applies the labels before it checks the models, and keeps them if it then refuses a model.
        self._configured = entries
        self._labels = self._new_labels(entries)
        check_platforms(entries)
        new = self._adopt(names)
        self._paths.watch(entries)
        if self._options.poll_seconds >= 0:
            self._paths.poll(self._models)
        return new

    def _check_waiting(self, caller: Caller) -> None:
        """Ends a wait whose caller is gone or late."""
        left = caller.seconds_left()
        if self._stopped.is_set() or caller.cancelled():
            raise StatusError(Code.CANCELLED, "The request was cancelled")
        if left is not None and left <= 0:
            raise StatusError(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

    def _check_room(self, names: set[str]) -> None:
        """Refuses new models while too many others are not unloaded: reloads that wait for none would pile them up."""
        others = sum(name not in names and not model.is_over() for name, model in self._models.items())
        if len(names) + others > _MAX_KNOWN:
            raise StatusError(
                Code.RESOURCE_EXHAUSTED,
                f"the config lists {len(names)} models, and {others} others are not unloaded yet; {_MAX_KNOWN} at most",
            )

    def _adopt(self, names: set[str]) -> list[Model]:
        """Creates the new models and unloads those that are gone; the models to wait for."""
        models = dict(self._models)
        for name in set(models) - names:
            models[name].want({})
        new = [name for name in sorted(names) if name not in models or not models[name].latest]
        for name in names - set(models):
            models[name] = Model(name, self._load, self._options.retry, self._changed)
        over = [name for name in models if name not in names and models[name].is_over()]
        for name in over[:-_MAX_MODELS_OVER]:
            models.pop(name).stop()
        self._models = models
        return [models[name] for name in new]

    def _load(self, name: str, version: int, path: Path) -> Servable:
        scheduler = self._scheduler
        batch = (lambda session: BatchingRunner(session, scheduler)) if scheduler else None
        servable = Servable(
            name, version, path, self._options.tags, self._options.session, batch, self._options.max_fill
        )
        try:
            if self._options.warmup_iterations:
                warm_up(servable, self._options.warmup_iterations)
            servable.settle()
        except BaseException:
            servable.retire()
            raise
        return servable

    def _wait_for(self, models: list[Model], caller: Caller) -> None:
        """Waits until each model serves, or the loading of all its versions has failed.

        Raises:
            InEffectError: some models do not serve.
            StatusError: the caller no longer waits.
        """

        def over() -> bool:
            return all(model.latest or model.settled() for model in models)

        while not over():
            # Without the lock, which all models need: a caller may look at a file.
            self._check_waiting(caller)
            with self._changed:
                if not over():
                    self._changed.wait(_LOOK_AGAIN_SECONDS)
        failed = [model for model in models if not model.latest]
        if failed:
            raise _not_available(failed, "model(s)" if self._has_started else "servable(s)")

    def _new_labels(self, entries: Any) -> dict[str, dict[str, int]]:
        """Versions by label and model.

        Raises:
            StatusError: a label points to a version that does not serve yet.
        """
        options = self._options
        labels: dict[str, dict[str, int]] = {}
        for entry in entries:
            model = self._models.get(entry.name)
            known = self._labels.get(entry.name, {})
            for label, version in entry.version_labels.items():
                moved = label in known and known[label] != version
                any_version = options.force_labels_for_unavailable or (options.labels_for_unavailable and not moved)
                if not any_version and (model is None or model.version(version) is None):
                    raise StatusError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {entry.name}, which is not currently "
                        "available for inference",
                    )
                labels.setdefault(entry.name, {})[label] = version
        return labels

    # Polling of the disk

    def _start_watching(self) -> None:
        if self._watcher is None and self._options.poll_seconds > 0:
            self._watcher = threading.Thread(target=self._watch, name="file_system_poll", daemon=True)
            self._watcher.start()

    def _watch(self) -> None:
        while not self._stopped.wait(self._options.poll_seconds):
            with PrintedFaults(), self._polling:
                self._paths.poll(self._models)

    # Requests

    @contextlib.contextmanager
    def servable(self, name: str, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """The version that a request names; it is not freed inside the context.

        Raises:
            StatusError: no such model, version or label.
        """
        while True:
            found = self._find(name, version, label)
            # It may just have been retired; another one serves then.
            if found.acquire():
                break
        try:
            yield found
        finally:
            found.release()

    def _find(self, name: str, version: int | None, label: str | None) -> Servable:
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        if label is not None:
            labels = self._labels.get(name, {})
            if label not in labels:
                raise invalid_argument(f"Unrecognized servable version label: {label}")
            version = labels[label]
        model = self._models.get(name)
        if version is None:
            found = model and model.latest
            request = f"Latest({name})"
        else:
            found = model and model.version(version)
            request = f"Specific({name}, {version})"
        if not found:
            raise StatusError(Code.NOT_FOUND, f"Servable not found for request: {request}")
        return found

    def statuses(self, name: str, version: int | None) -> dict[int, VersionStatus]:
        """The states of a model's versions, or of one version.

        Raises:
            StatusError: no such model or version.
        """
        model = self._models.get(name)
        found = model.statuses() if model else {}
        if version is not None:
            if version not in found:
                raise StatusError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
            return {version: found[version]}
        if not found:
            raise StatusError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return found

    def stop(self) -> None:
        """Ends polling and loading; loaded versions go on serving."""
        self._stopped.set()
        for model in self._models.values():
            model.stop()


def _not_available(failed: Sequence[Model], what: str) -> InEffectError:
    """Models that do not serve; `what` they are in load_servables_fast.cc and, after the start, in server_core.cc."""
    listed = "".join(
        f"{{{{name: {model.name} version: {version}}} due to error: {status.error}}}, "
        for model in failed
        for version, status in model.statuses().items()
        if status.error is not None
    )
    return InEffectError(Code.UNKNOWN, f"{len(failed)} {what} did not become available: {{{listed}}}")
