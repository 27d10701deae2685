"""The model config file: whatever a version of it holds, the next one is read."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.server.embedded.base.status import Code, StartError, StatusError
from bench.server.embedded.config.flags import Flags
from bench.server.embedded.config.model_config import single_model_config
from bench.server.embedded.manager.config_file import ConfigFile
from bench.server.embedded.manager.model_manager import ManagerOptions, ModelManager
from bench.server.embedded.models.model import RetryPolicy
from bench.server.embedded.models.servable import Caller
from bench.server.embedded.server import Server
from tests.support.embedded_server import entry, model_config


class Loaded:
    """Stands in for a version that serves."""

    def retire(self) -> None:
        """Nothing is to be freed."""


def load(_name: str, _version: int, path: Path) -> Any:
    if path.parent.name == "broken":
        raise StatusError(Code.NOT_FOUND, "broken")
    return Loaded()


class Followed:
    """A config file that is polled, in effect with the model `a` of a folder `good`."""

    def __init__(self, folder: Path) -> None:
        for name in ("good", "broken"):
            (folder / name / "1").mkdir(parents=True)
        self.folder = folder
        self.stopping = threading.Event()
        self.manager = ModelManager(ManagerOptions(poll_seconds=0.01, retry=RetryPolicy(0)))
        self.manager._load = load  # type: ignore[method-assign,assignment]
        config = single_model_config("a", str(folder / "good"))
        self.manager.reload(config, Caller(60))
        self.file = ConfigFile(folder / "models.config", config, self.manager, 0.01, self.stopping)

    def write(self, **models: str) -> None:
        """Replaces the file by one with these models and folders."""
        whole = model_config(self.folder / "next.config", *(entry(m, self.folder / p) for m, p in models.items()))
        whole.rename(self.folder / "models.config")

    def start_poll(self) -> threading.Thread:
        """A poll that has applied the file's config and waits for its models."""
        thread = threading.Thread(target=self.file.poll, daemon=True)
        before = self.manager._configured
        thread.start()
        for _ in range(6000):
            if self.manager._configured is not before:
                break
            threading.Event().wait(0.005)
        return thread

    def serving(self) -> list[str]:
        return sorted(name for name, model in self.manager._models.items() if model.latest)


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    made = Followed(tmp_path)
    yield made
    made.stopping.set()
    made.manager.stop()


def test_a_base_path_that_is_corrected(followed: Followed, capsys: pytest.CaptureFixture[str]) -> None:
    followed.write(a="good", b="typo")
    poll = followed.start_poll()
    followed.write(a="good", b="good")
    poll.join(60)
    assert not poll.is_alive()
    assert followed.serving() == ["a"]
    followed.file.poll()
    assert followed.serving() == ["a", "b"]
    shown = capsys.readouterr().err
    assert "warning: no longer waiting for the models of the model config file, which has changed" in shown
    assert "cannot apply" not in shown


def test_the_config_before_a_wrong_one_comes_back(followed: Followed) -> None:
    for wrong in ("typo", "broken"):
        followed.write(b=wrong)
        poll = followed.start_poll()
        followed.write(a="good")
        poll.join(60)
        assert not poll.is_alive()
        followed.file.poll()
        with followed.manager._changed:
            assert followed.manager._changed.wait_for(lambda: followed.serving() == ["a"], 60)
        assert [one.name for one in followed.manager._configured] == ["a"]


def test_the_file_comes_back_after_a_reload_by_a_client(followed: Followed) -> None:
    followed.write(a="good")
    followed.file.poll()
    followed.manager.reload(single_model_config("b", str(followed.folder / "good")), Caller(60))
    assert "b" in followed.serving()
    followed.file.poll()
    assert [one.name for one in followed.manager._configured] == ["a"]


def test_a_model_that_does_not_load(followed: Followed, capsys: pytest.CaptureFixture[str]) -> None:
    followed.write(a="good", b="broken")
    followed.file.poll()
    shown = capsys.readouterr().err
    reason = "1 model(s) did not become available: {{{name: b version: 1} due to error: "
    assert f"PollFilesystemAndReloadConfig failed to ReloadConfig: {reason}" in shown
    assert "warning: the model config file is in effect, but not all of it: UNKNOWN: 1 model(s)" in shown


def test_requests_are_not_logged(followed: Followed, capsys: pytest.CaptureFixture[str]) -> None:
    """The binary loads the models first, and says so then."""
    logged = entry("b", followed.folder / "good", 'logging_config { log_collector_config { type: "file" } }')
    model_config(followed.folder / "models.config", logged)
    followed.file.poll()
    shown = capsys.readouterr().err
    assert "PollFilesystemAndReloadConfig failed to ReloadConfig: No request-logger-creator provided." in shown
    assert "the last one stays in effect" not in shown
    assert followed.manager._models["b"].latest is not None
    with pytest.raises(StartError, match="model b has a logging_config, but neither") as refused:
        Server(Flags(model_config_file=str(followed.folder / "models.config")))
    assert str(refused.value.status) == "INVALID_ARGUMENT: No request-logger-creator provided."


def test_the_wait_for_models_ends_with_the_server(followed: Followed, capsys: pytest.CaptureFixture[str]) -> None:
    followed.write(a="good", b="typo")
    poll = followed.start_poll()
    followed.stopping.set()
    poll.join(60)
    assert not poll.is_alive()
    assert "model config file" not in capsys.readouterr().err
