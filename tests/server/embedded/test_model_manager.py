"""Configs that a client may send, whatever they hold: no thread that others need ends or waits for one of them."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.server.embedded.base.status import Code, StatusError
from bench.server.embedded.manager import base_paths, model_manager
from bench.server.embedded.manager.model_manager import ManagerOptions, ModelManager
from bench.server.embedded.models import versions
from bench.server.embedded.models.servable import Caller
from bench.serving.protos import model_server_config_pb2


@pytest.fixture
def manager() -> Iterator[ModelManager]:
    made = ModelManager(ManagerOptions(poll_seconds=0.01))
    yield made
    made.stop()


def config(*models: tuple[str, str]) -> Any:
    made = model_server_config_pb2.ModelServerConfig()
    made.model_config_list.SetInParent()
    for name, path in models:
        made.model_config_list.config.add(name=name, base_path=path, model_platform="tensorflow")
    return made


def refused(manager: ModelManager, given: Any, caller: Caller) -> StatusError:
    with pytest.raises(StatusError) as caught:
        manager.reload(given, caller)
    return caught.value


@pytest.mark.parametrize("path", ["/a\0b", "/" + "x" * 4095, "/dev/null", "/nowhere", "file:///a\0", "/a\nb"])
def test_a_path_that_is_none(manager: ModelManager, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    late = refused(manager, config(("bad", path), ("good", "/nowhere")), Caller(0.05))
    assert late.code is Code.DEADLINE_EXCEEDED
    watcher = manager._watcher
    assert watcher is not None
    # Polls go on: what is wrong with another model's path is seen.
    manager._paths.watch(config(("good", "/elsewhere")).model_config_list.config)
    for _ in range(2000):
        if "/elsewhere" in (shown := capsys.readouterr().err):
            break
        threading.Event().wait(0.005)
    assert "Could not find base path /elsewhere (No such file or directory)" in shown
    assert watcher.is_alive()


@pytest.mark.parametrize("kind", [{}, {"model_type": 1, "model_platform": "tensorflow"}, {"model_type": 7}])
def test_a_config_that_has_no_platform_is_corrected(manager: ModelManager, kind: dict[str, Any]) -> None:
    """The wrong one is what the next is compared with."""
    wrong = config()
    wrong.model_config_list.config.add(name="b", base_path="/nowhere", **kind)
    assert refused(manager, wrong, Caller(0.05)).code is Code.INVALID_ARGUMENT
    for right in (config(("a", "/nowhere")), config(("b", "/nowhere"))):
        assert refused(manager, right, Caller(0.05)).code is Code.DEADLINE_EXCEEDED


def test_no_config_comes_into_effect_during_a_poll(manager: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll would give versions to a model that is gone: it came back and stayed."""
    outcomes: list[Code] = []
    polled = threading.Event()

    def versions_on_disk(path: Path) -> dict[int, Path]:
        if threading.current_thread() is manager._watcher and not outcomes:
            try:
                manager.reload(config(), Caller(0))
                outcomes.append(Code.OK)
            except StatusError as error:
                outcomes.append(error.code)
            polled.set()
        return {1: path}

    def load(*_: object) -> None:
        raise StatusError(Code.NOT_FOUND, "nothing there")

    monkeypatch.setattr(base_paths, "versions_on_disk", versions_on_disk)
    monkeypatch.setattr(manager, "_load", load)
    assert refused(manager, config(("m", "/somewhere")), Caller(0.05)).code is Code.DEADLINE_EXCEEDED
    assert polled.wait(30)
    assert outcomes == [Code.DEADLINE_EXCEEDED]
    manager.reload(config(), Caller(30))
    assert manager._models["m"]._wanted == {}


def test_reloads_that_wait_are_few(manager: ModelManager) -> None:
    callers = [Caller(), Caller()]
    outcomes: list[StatusError] = []
    threads = [
        threading.Thread(
            target=lambda caller=caller: outcomes.append(refused(manager, config(("m", "/nowhere")), caller))
        )
        for caller in callers
    ]
    for thread in threads:
        thread.start()
    while manager._reloads._value:
        threading.Event().wait(0.005)
    assert refused(manager, config(("m", "/nowhere")), Caller()).code is Code.RESOURCE_EXHAUSTED
    for caller in callers:
        caller.cancel()
    for thread in threads:
        thread.join(30)
    assert [outcome.code for outcome in outcomes] == [Code.CANCELLED] * 2
    assert refused(manager, config(("m", "relative")), Caller()).code is Code.INVALID_ARGUMENT


def test_models_are_not_without_number(manager: ModelManager) -> None:
    many = config(*((f"m{number}", "/nowhere") for number in range(1001)))
    assert refused(manager, many, Caller()).code is Code.RESOURCE_EXHAUSTED


def test_versions_are_not_without_number(manager: ModelManager) -> None:
    many = config(("m", "/nowhere"))
    listed = many.model_config_list.config[0].model_version_policy.specific.versions
    listed.extend(range(1000))
    assert refused(manager, many, Caller(0)).code is Code.DEADLINE_EXCEEDED
    listed.append(1000)
    full = refused(manager, many, Caller(0))
    assert full.code is Code.RESOURCE_EXHAUSTED
    assert full.message == "the config lists 1001 versions of model m; 1000 at most"


def test_paths_are_not_of_any_length(manager: ModelManager) -> None:
    long = refused(manager, config(("m", "/" + "ü" * 2048)), Caller(0))
    assert long.code is Code.RESOURCE_EXHAUSTED
    assert long.message == "the base_path of model m has 4097 bytes; 4096 at most"
    assert not manager._models


def test_a_policy_is_read_once(manager: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at each poll, since it may list many versions."""
    reads, polls = [], threading.Semaphore(0)

    def read_policy(policy: Any) -> versions.VersionPolicy:
        reads.append(policy)
        return versions.read_policy(policy)

    def versions_on_disk(path: Path) -> dict[int, Path]:
        polls.release()
        return {}

    monkeypatch.setattr(base_paths, "read_policy", read_policy)
    monkeypatch.setattr(base_paths, "versions_on_disk", versions_on_disk)
    refused(manager, config(("m", "/nowhere")), Caller(0))
    assert all(polls.acquire(timeout=30) for _ in range(5))
    assert len(reads) == 1


def test_models_of_earlier_configs_that_load_are_few(manager: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_manager, "_MAX_KNOWN", 5)
    loading, go_on = threading.Semaphore(0), threading.Event()

    def load(*_: object) -> None:
        loading.release()
        assert go_on.wait(60)
        raise StatusError(Code.NOT_FOUND, "nothing there")

    monkeypatch.setattr(manager, "_load", load)
    monkeypatch.setattr(base_paths, "versions_on_disk", lambda path: {1: path})
    for number in (0, 2):
        pair = config((f"m{number}", "/somewhere"), (f"m{number + 1}", "/somewhere"))
        assert refused(manager, pair, Caller(0)).code is Code.DEADLINE_EXCEEDED
        assert all(loading.acquire(timeout=30) for _ in range(2))
    more = config(("m4", "/somewhere"), ("m5", "/somewhere"))
    full = refused(manager, more, Caller(0))
    assert full.code is Code.RESOURCE_EXHAUSTED
    assert full.message == "the config lists 2 models, and 4 others are not unloaded yet; 5 at most"
    # Nothing of it is in effect.
    assert sorted(manager._models) == ["m0", "m1", "m2", "m3"]
    assert [entry.name for entry in manager._configured] == ["m2", "m3"]
    go_on.set()
    with manager._changed:
        assert manager._changed.wait_for(
            lambda: manager._models["m0"].is_over() and manager._models["m1"].is_over(), 30
        )
    assert refused(manager, more, Caller(0)).code is Code.DEADLINE_EXCEEDED
    assert {"m4", "m5"} < set(manager._models)


def test_models_that_are_over_are_forgotten(manager: ModelManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_manager, "_MAX_MODELS_OVER", 3)
    before = threading.active_count()
    for number in range(10):
        refused(manager, config((f"m{number}", "/nowhere")), Caller(0))
    assert list(manager._models) == ["m6", "m7", "m8", "m9"]
    for _ in range(2000):
        if threading.active_count() <= before + 5:
            break
        threading.Event().wait(0.005)
    # Theirs, and the one that polls.
    assert threading.active_count() <= before + 5


def test_a_version_of_very_many_digits_is_none(manager: ModelManager, tmp_path: Path) -> None:
    (tmp_path / ("9" * 200)).mkdir()
    assert refused(manager, config(("m", str(tmp_path))), Caller(0.05)).code is Code.DEADLINE_EXCEEDED
