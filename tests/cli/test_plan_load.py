"""`bertbench plan-load`, with ceilings as `bertbench calibrate` stores them."""

import io
import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.load.selftest.self_test import SelfTest, store_self_tests


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ceilings = {"rest-fast": 4000.0, "grpc-fast": 5000.0}
    when = "2026-11-29T12:00:00Z"
    (tmp_path / "bertbench").mkdir()
    store_self_tests({name: SelfTest(ceiling, 0.0002, 16, when) for name, ceiling in ceilings.items()})


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(["plan-load", *words], out, err), out.getvalue(), err.getvalue()


@pytest.mark.usefixtures("stored")
def test_each_client_has_a_row() -> None:
    code, out, _ = run("--rate", "50000/s", "--cores", "16")
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if "-fast" in line}
    assert rows["grpc-fast"] == ["5,000/s", "13", "14", "1", "76.9", "%"]
    assert rows["rest-fast"] == ["4,000/s", "16", "17", "2", "78.1", "%"]


def test_machines_have_the_cores_that_may_be_used_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under taskset: the ceiling was measured on those, and another machine like this one has no more."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "bertbench").mkdir()
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1})
    store_self_tests({"rest-fast": SelfTest(4000.0, 0.0002, 16, "2026-11-29T12:00:00Z")})
    code, out, _ = run("--rate", "50/s", "--json")
    assert (code, json.loads(out)["cores"]) == (0, 1)
    # A ceiling of other cores does not count.
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert run("--rate", "50/s")[0] == 2


@pytest.mark.usefixtures("stored")
def test_columns_stay_apart_whatever_is_in_them() -> None:
    for rate in ("1/m", "999999999/s"):
        code, out, _ = run("--rate", rate, "--cores", "1")
        assert code == 0
        rows = [line.split() for line in out.splitlines() if "-fast" in line]
        assert [len(row) for row in rows] == [7, 7], rows


@pytest.mark.usefixtures("stored")
def test_the_document_has_the_same_figures() -> None:
    code, out, _ = run("--rate", "600000/m", "--cores", "4", "--share", "50%", "--client", "grpc-fast", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["rate"], found["share"], found["cores"]) == (10_000.0, 0.5, 4)
    plan = {"ceiling": 5000.0, "workers": 4, "cores": 5, "machines": 2, "utilization": 0.5}
    assert found["clients"] == {"grpc-fast": plan}


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--rate", "0"), "--rate"),
        (("--rate", "1", "--cores", "0"), "--cores"),
        (("--rate", "1", "--share", "0%"), "more than 0 %"),
        (("--rate", "1", "--client", "grpc-fats"), "did you mean grpc-fast?"),
    ],
)
def test_what_is_wrong_is_named(words: tuple[str, ...], says: str) -> None:
    code, _, err = run(*words)
    assert code == 2
    (line,) = err.splitlines()
    assert says in line


def test_without_a_calibration_it_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, _, err = run("--rate", "50")
    assert code == 2
    assert "run bertbench calibrate first" in err
