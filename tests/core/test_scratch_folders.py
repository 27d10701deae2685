"""Scratch folders are gone at the end, and those of killed owners with the next; what is held by one process."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from bench.core.atomic_files import open_held, scratch_folder, sole_use, write_atomically
from bench.core.errors import UsageError

OWNER = """
import sys
from pathlib import Path
from bench.core.atomic_files import scratch_folder
with scratch_folder(Path(sys.argv[1]), ".made-") as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_folder_is_gone_at_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, ".made-") as folder:
        (folder / "file").write_text("")
        assert folder.parent == tmp_path
    assert not list(tmp_path.iterdir())


def test_what_a_killed_owner_left_is_removed_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    others = [tmp_path / ".made-by-hand", tmp_path / "1", tmp_path / ".other-abcdefgh"]
    for other in others:
        other.mkdir()
    (tmp_path / ".made-abcdefgh").symlink_to(tmp_path / "1")
    words = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        made = Path(owner.stdout.readline().strip())
        with scratch_folder(tmp_path, ".made-"):
            assert (made / "half").exists()
        owner.kill()
    assert (made / "half").exists()
    with scratch_folder(tmp_path, ".made-"):
        assert not made.exists()
    assert all(other.is_dir() for other in others)
    assert (tmp_path / ".made-abcdefgh").is_symlink()


def test_without_locks_nothing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    (tmp_path / ".made-12345678").mkdir()
    monkeypatch.setattr(fcntl, "flock", refuse)
    with scratch_folder(tmp_path, ".made-") as folder:
        assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [".made-12345678"]


def test_one_at_a_time_holds_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sole_use(tmp_path), pytest.raises(UsageError, match=f"still at work in {tmp_path}"), sole_use(tmp_path):
        pass
    with sole_use(tmp_path):
        assert not list(tmp_path.iterdir())

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with sole_use(tmp_path), sole_use(tmp_path):
        pass


def test_one_at_a_time_holds_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError, match="'.*/file'"):
        open_held(path)
    with open_held(path, new=True) as file:
        file.write(b"held")
        for new in (False, True):
            with pytest.raises(UsageError, match=f"still at work in {path}"):
                open_held(path, new=new)
    with open_held(path) as file:
        assert file.read() == b"held"

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with open_held(path) as one, open_held(path) as other:
        assert one.read() == other.read() == b"held"


def test_a_file_that_is_always_another_one_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, lock = tmp_path / "file", fcntl.flock
    path.write_bytes(b"old")

    def late(descriptor: int, how: int) -> None:
        write_atomically(path, b"new")
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(UsageError, match="file is replaced again and again by another process"):
        open_held(path)


def test_a_file_that_its_last_owner_has_just_removed_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = tmp_path / "file", fcntl.flock

    def late(descriptor: int, how: int) -> None:
        if path.read_bytes() == b"old":
            path.unlink()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    path.write_bytes(b"old")
    with open_held(path, new=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        open_held(path)
