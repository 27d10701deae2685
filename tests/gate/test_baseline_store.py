import errno
import fcntl
import io
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from bench.cli import main
from bench.core.errors import UsageError
from bench.gate import baseline_store
from bench.gate.baseline_store import INDEX, Entry, add_runs, find_entry, promote, promoted_runs, read_store
from bench.results.records import Outcome
from tests.support.synthetic_runs import WORKLOAD, fixed, simulate, write_run

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SHORT = replace(WORKLOAD, duration=8.0, warmup=1.0)
ARRIVALS = "constant:rate=60"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for number in range(2):
        write_run(tmp_path / "runs", simulate(ARRIVALS, SHORT), ARRIVALS, SHORT, slug=f"run-{number}")
    return tmp_path / "runs"


@pytest.fixture
def failed(tmp_path: Path) -> Path:
    requests = simulate(ARRIVALS, SHORT)
    requests.outcome[100] = Outcome.WRONG_ANSWER
    return write_run(tmp_path / "failed", requests, ARRIVALS, SHORT).path


def test_add_and_promote(runs: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = add_runs(store, [runs], "main 1", NOW)
    second = add_runs(store, [runs], "main 1", NOW)
    assert (first.id, second.id) == ("20260131T120000Z-main-1", "20260131T120000Z-main-1-2")
    promote(store, first.id)
    assert [entry.promoted for entry in read_store(store)] == [True, False]
    promote(store, "latest")
    assert [entry.promoted for entry in read_store(store)] == [False, True]
    assert [run.name for run in promoted_runs(store)] == list(second.runs)
    assert find_entry(store, "main 1").id == second.id
    for misspelt, meant in (("man 1", "main 1"), ("promotd", "promoted"), ("lastest", "latest")):
        with pytest.raises(UsageError, match=f"did you mean {meant}"):
            find_entry(store, misspelt)


def test_what_is_added_at_once_is_all_there(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by two jobs of one build: each wrote the index that it had read before it copied its runs."""
    store, copytree = tmp_path / "store", shutil.copytree

    def copy(source: Path, target: Path, *, symlinks: bool) -> Path:
        monkeypatch.setattr("shutil.copytree", copytree)
        add_runs(store, [runs], "a", NOW)  # by another process, meanwhile
        return copytree(source, target, symlinks=symlinks)

    monkeypatch.setattr("shutil.copytree", copy)
    added = add_runs(store, [runs], "a", NOW)
    ids = [entry.id for entry in read_store(store)]
    assert ids == ["20260131T120000Z-a", "20260131T120000Z-a-2"]
    assert added.id == ids[1]
    assert sorted(path.name for path in store.iterdir()) == [*ids, INDEX]


def test_the_index_is_written_by_one_at_a_time(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, write = tmp_path / "store", baseline_store._write
    held: list[Path] = []

    def look(folder: Path, entries: Iterable[Entry]) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held.append(folder)
        finally:
            os.close(descriptor)
        write(folder, entries)

    monkeypatch.setattr(baseline_store, "_write", look)
    promote(store, add_runs(store, [runs], "a", NOW).id)
    assert held == [store, store]


def test_a_wrong_answer_in_the_warm_up_is_a_problem(tmp_path: Path) -> None:
    requests = simulate(ARRIVALS, SHORT)
    requests.outcome[:2] = [Outcome.WRONG_ANSWER] * 2
    run = write_run(tmp_path / "failed", requests, ARRIVALS, SHORT)
    assert add_runs(tmp_path / "store", [run.path], "a", NOW).problems == (f"{run.name}: 2 wrong answers",)


def test_the_store_stands_for_itself(runs: Path, tmp_path: Path) -> None:
    """The runs are copies: the folder can be committed, cached, moved."""
    store = tmp_path / "store"
    add_runs(store, [runs], "a", NOW)
    promote(store, "a")
    runs.rename(tmp_path / "gone")
    moved = store.rename(tmp_path / "elsewhere")
    assert len(promoted_runs(moved)) == 2


def test_a_failed_run_is_stored_and_never_promoted(failed: Path, tmp_path: Path) -> None:
    entry = add_runs(tmp_path / "store", [failed], "bad", NOW)
    assert "1 wrong answers" in entry.problems[0]
    assert (tmp_path / "store" / entry.id / failed.name / "run.json").is_file()
    with pytest.raises(UsageError, match="failed and cannot be promoted"):
        promote(tmp_path / "store", entry.id)
    with pytest.raises(UsageError, match="promoted"):
        promoted_runs(tmp_path / "store")


def test_an_unfinished_run_and_one_of_failures_are_failed(tmp_path: Path) -> None:
    requests = simulate(ARRIVALS, SHORT)
    requests.outcome[::20] = [Outcome.TIMEOUT] * len(requests.outcome[::20])
    erring = write_run(tmp_path / "runs", requests, ARRIVALS, SHORT, slug="erring")
    killed = write_run(tmp_path / "runs", simulate(ARRIVALS, SHORT), ARRIVALS, SHORT, slug="killed", finish=False)
    assert "requests failed" in add_runs(tmp_path / "store", [erring.path], "e", NOW).problems[0]
    assert "did not finish" in add_runs(tmp_path / "store", [killed.path], "k", NOW).problems[0]


def _five_runs(tmp_path: Path, unfinished: int) -> tuple[Path, list[str]]:
    """Five runs, and the names of those that did not finish."""
    runs = [
        write_run(tmp_path / "runs", simulate(ARRIVALS, SHORT), ARRIVALS, SHORT, slug=f"r{n}", finish=n >= unfinished)
        for n in range(5)
    ]
    return tmp_path / "runs", [run.name for run in runs[:unfinished]]


def test_an_invalid_run_is_left_out_by_name_where_enough_valid_ones_remain(tmp_path: Path) -> None:
    runs, (killed,) = _five_runs(tmp_path, unfinished=1)
    store, out, err = tmp_path / "store", io.StringIO(), io.StringIO()
    assert main(["baseline", "add", str(runs), "--promote", "--store", str(store)], out, err) == 0
    (entry,) = read_store(store)
    assert (entry.promoted, entry.problems, len(entry.runs)) == (True, (), 4)
    assert killed not in entry.runs
    assert [run.name for run in promoted_runs(store)] == list(entry.runs)
    left_out = [line for line in out.getvalue().splitlines() if "left out" in line]
    assert len(left_out) == 1
    assert left_out[0].startswith(f"  left out: {killed} is INVALID: the run did not finish")
    assert err.getvalue() == ""


def test_too_few_valid_runs_are_not_promoted_and_the_line_says_how_many_are_needed(tmp_path: Path) -> None:
    runs, killed = _five_runs(tmp_path, unfinished=2)
    store, out, err = tmp_path / "store", io.StringIO(), io.StringIO()
    assert main(["baseline", "add", str(runs), "--promote", "--store", str(store)], out, err) == 1
    (entry,) = read_store(store)
    assert not entry.promoted
    assert len(entry.runs) == 5
    assert [problem.partition(" is INVALID")[0] for problem in entry.problems[:-1]] == killed
    assert entry.problems[-1] == "3 of 5 runs are VALID, and a gate needs 4"
    assert f"{entry.id} was stored but not promoted: {entry.problems[-1]}; look at its runs" in err.getvalue()
    with pytest.raises(UsageError, match="3 of 5 runs are VALID, and a gate needs 4; promote another entry"):
        promote(store, "latest")


@pytest.mark.parametrize("outcome", [Outcome.WRONG_ANSWER, Outcome.TIMEOUT])
def test_what_the_server_did_is_not_left_out(outcome: Outcome, tmp_path: Path) -> None:
    runs, _ = _five_runs(tmp_path, unfinished=1)
    requests = simulate(ARRIVALS, SHORT)
    requests.outcome[::20] = [outcome] * len(requests.outcome[::20])
    bad = write_run(runs, requests, ARRIVALS, SHORT, slug="bad")
    left_out: list[str] = []
    entry = add_runs(tmp_path / "store", [runs], "a", NOW, left_out.append)
    assert (len(entry.runs), left_out) == (6, [])
    assert entry.problems[-1].startswith(bad.name)


def test_a_run_that_shows_a_server_behind_its_rate_is_not_left_out(tmp_path: Path) -> None:
    """A baseline of the runs in which the server kept up would look faster than the server is."""
    runs, _ = _five_runs(tmp_path, unfinished=0)
    long = replace(WORKLOAD, duration=20.0, warmup=1.0)
    behind = write_run(runs, simulate(ARRIVALS, long, fixed(0.025)), ARRIVALS, long, slug="behind")
    entry = add_runs(tmp_path / "store", [runs], "a", NOW)
    assert len(entry.runs) == 6
    (problem,) = entry.problems
    assert problem.startswith(f"{behind.name} is INVALID: ")


def test_changed_runs_are_not_promoted(runs: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    entry = add_runs(store, [runs], "a", NOW)
    table = store / entry.id / entry.runs[0] / "requests.parquet"
    table.write_bytes(table.read_bytes() + b"x")
    with pytest.raises(UsageError, match="was changed since the run"):
        promote(store, "a")


def test_bad_stores(tmp_path: Path) -> None:
    assert read_store(tmp_path) == ()
    with pytest.raises(UsageError, match="holds no baseline yet"):
        find_entry(tmp_path, "latest")
    (tmp_path / INDEX).write_bytes(orjson.dumps({"format": 2, "entries": []}))
    with pytest.raises(UsageError, match="update bertbench"):
        read_store(tmp_path)
    (tmp_path / INDEX).write_text("no")
    with pytest.raises(UsageError, match="baselines.json is not JSON .*; restore it"):
        read_store(tmp_path)


@pytest.mark.parametrize("failing", ["shutil.copytree", "bench.gate.baseline_store._write"])
def test_what_cannot_be_stored_whole_leaves_the_store_as_it_was(
    failing: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after the first run, or where the index is written."""
    store = tmp_path / "store"
    add_runs(store, [runs], "first", NOW)
    before = sorted(store.rglob("*"))
    copied: list[str] = []

    def copy(source: Path, target: Path, *, symlinks: bool) -> None:
        if copied:
            raise OSError(errno.ENOSPC, "full", str(target))
        target.mkdir(parents=True)
        copied.append(target.name)

    def write(store: Path, entries: object) -> None:
        raise OSError(errno.ENOSPC, "full", str(store / INDEX))

    monkeypatch.setattr(failing, copy if failing == "shutil.copytree" else write)
    with pytest.raises(OSError, match="full"):
        add_runs(store, [runs], "second", NOW)
    assert sorted(store.rglob("*")) == before


def test_a_label_of_others_breaks_no_table(runs: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add_runs(store, [runs], "a\nb", NOW)
    for words in (["list"], ["show", "latest"]):
        out = io.StringIO()
        assert main(["baseline", *words, "--store", str(store)], out, io.StringIO()) == 0
        assert any("a b" in line and "20260131T120000Z-a-b" in line for line in out.getvalue().splitlines())


@pytest.mark.parametrize("name", ["promoted", "latest"])
def test_a_label_makes_no_baseline(name: str, runs: Path, failed: Path, tmp_path: Path) -> None:
    """That of a store of an earlier version either: a failed set is never compared with."""
    store, err = tmp_path / "store", io.StringIO()
    good = add_runs(store, [runs], "good", NOW)
    words = ["baseline", "add", str(failed), "--label", name, "--store", str(store)]
    assert main(words, io.StringIO(), err) == 2
    assert f"the label '{name}' already names the " in err.getvalue()
    assert [entry.id for entry in read_store(store)] == [good.id]
    bad = add_runs(store, [failed], "bad", NOW)
    index = store / INDEX
    index.write_bytes(index.read_bytes().replace(b'"bad"', f'"{name}"'.encode()))
    assert read_store(store)[-1].label == name
    with pytest.raises(UsageError, match="no entry of .* is promoted"):
        promoted_runs(store)
    promote(store, good.id)
    assert [run.name for run in promoted_runs(store)] == list(good.runs)
    assert find_entry(store, "latest").id == bad.id
