import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bench.cli import calibrate, main
from bench.core.errors import TargetError, UsageError
from bench.core.interrupts import Interrupted
from bench.load.selftest.self_test import SelfTest, client_name, read_self_tests, store_self_tests, stored_ceiling
from tests.support.toy_golden import write_model_dir


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
    # Which is the cure.
    store_self_tests({"rest-fast": entry(6000.0)})
    assert read_self_tests() == {"rest-fast": entry(6000.0)}


@pytest.mark.parametrize(
    ("error", "code", "note"),
    [(TargetError("the server ended"), 4, ""), (Interrupted(2), 130, "; rest-fast measured and stored")],
)
def test_what_is_measured_before_an_error_is_stored(
    error: BaseException, code: int, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def measure(name: str, *args: object) -> tuple[float, float]:
        asked.append(name)
        if name != "rest-fast":
            raise error
        return 5000.0, 0.0004

    monkeypatch.setattr(calibrate, "measure", measure)
    addresses = {"rest": "http://127.0.0.1:9", "grpc": "127.0.0.1:9"}
    monkeypatch.setattr(calibrate, "null_server", lambda model_dir: nullcontext(addresses))
    model, err = write_model_dir(tmp_path / "model"), io.StringIO()
    words = ["calibrate", "--ways", "rest-fast,grpc-fast", "--model-dir", str(model)]
    assert main(words, io.StringIO(), err) == code
    assert asked == ["rest-fast", "rest-fast", "grpc-fast"]
    assert stored_ceiling({"rest": "fast"}) == 5000.0
    assert err.getvalue().endswith(f"{note}\n")
