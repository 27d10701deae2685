from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UsageError
from bench.load.selftest.self_test import SelfTest, client_name, read_self_tests, store_self_tests, stored_ceiling


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bertbench" / "calibration.json"


def entry(ceiling: Any) -> SelfTest:
    return SelfTest(ceiling, 0.0005, 8, "2026-01-01T00:00:00Z")


def test_what_is_stored_is_read() -> None:
    assert read_self_tests() == {}
    store_self_tests({client_name("rest", "fast"): entry(4000.0)})
    store_self_tests({client_name("grpc", "fast"): entry(2000.0)})
    assert set(read_self_tests()) == {"rest-fast", "grpc-fast"}
    assert stored_ceiling({"rest": "fast"}) == 4000.0
    assert stored_ceiling({"grpc": "fast"}) == 2000.0
    assert stored_ceiling({"rest": "requests"}) is None


def test_both_by_turns_take_the_harmonic_mean() -> None:
    store_self_tests({"rest-fast": entry(6000.0), "grpc-fast": entry(2000.0)})
    assert stored_ceiling({"rest": "fast", "grpc": "fast"}) == pytest.approx(3000.0)
    assert stored_ceiling({"rest": "fast", "grpc": "grpcio"}) is None


def test_figures_of_other_cores_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    store_self_tests({"grpc-fast": entry(2000.0)})
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(1024)))
    assert read_self_tests() == {}


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 1, "cores": 1, "ways": {"x": {}}}'])
def test_a_damaged_file_is_named(cache: Any, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    cache.parent.mkdir()
    cache.write_text(text)
    with pytest.raises(UsageError, match="calibrate"):
        read_self_tests()
