"""What stores a run is loaded before the load: a run that could not be stored is not made."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bench.core.errors import UsageError
from bench.load.selftest.null_server import null_server
from bench.load.setup.storing import load_storing
from tests.support.locust_process import ROOT, command, environment
from tests.support.toy_golden import write_model_dir


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


class Refusing:
    """An importer of `library_without_memory` that fails with an error."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        if name == "library_without_memory":
            raise self.error
        return None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImportError("lib.so: failed to map segment from shared object"), "lib.so: failed to map segment"),
        (MemoryError(), "there is not enough memory"),
        (OSError(12, "Cannot allocate memory"), "there is not enough memory"),
    ],
)
def test_a_library_that_finds_no_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, reason: str
) -> None:
    monkeypatch.setattr(sys, "meta_path", [Refusing(error), *sys.meta_path])
    with pytest.raises(UsageError) as refused:
        load_storing("json", "library_without_memory")
    assert str(refused.value).startswith(f"what stores a run cannot be loaded ({reason}")
    assert str(refused.value).endswith("give it more memory (ulimit -v), or check the installation")


def test_libraries_that_would_ask_for_memory_without_end_are_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("mmap.mmap", refuse)
    monkeypatch.setattr(sys, "meta_path", [Refusing(AssertionError("it was loaded")), *sys.meta_path])
    with pytest.raises(UsageError, match=r"cannot be loaded \(there is not enough memory\)"):
        load_storing("library_without_memory")
    # What is loaded already needs no more.
    load_storing("json")


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(UsageError, match="No module named 'no_such_package'"):
        load_storing("no_such_package")


def test_what_was_loaded_is_not_looked_at_by_the_garbage_collector() -> None:
    gc.unfreeze()
    load_storing("bench.results.parquet")
    assert gc.get_freeze_count() > 0


def test_a_run_that_could_not_be_stored_sends_nothing(tmp_path: Path) -> None:
    model_dir = write_model_dir(tmp_path / "model")
    (tmp_path / "broken" / "pyarrow").mkdir(parents=True)
    (tmp_path / "broken" / "pyarrow" / "__init__.py").write_text(
        "raise ImportError('libarrow.so: failed to map segment from shared object')"
    )
    with null_server(model_dir) as server:
        words = ["--headless", "-u", "2", "-t", "1s", "--host", server["rest"], "--model-dir", str(model_dir)]
        ended = subprocess.run(
            command("rest.py", *words, "--results", str(tmp_path / "runs")),
            env=environment() | {"PYTHONPATH": str(tmp_path / "broken")},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert ended.returncode == 2, ended.stderr
    assert "bertbench: what stores a run cannot be loaded (libarrow.so: failed to map segment" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "runs").exists()


def test_no_process_is_forked_beside_the_greenlets() -> None:
    """A child that goes on as the process that it was forked from never ends, and holds up who waits for it."""
    code = """
import sys
import locust
from bench.load.setup.storing import load_storing
forks = []
sys.addaudithook(lambda name, given: forks.append(name) if name in ("os.fork", "subprocess.Popen") else None)
load_storing("bench.results.parquet", "bench.load.setup.run_outcome")
print(forks, "scipy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[] True\n", 0), done.stderr
