"""An output file that is taken up after a kill."""

from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.results.journal import ResumableFile

JOB = {"input": "a", "format": "tsv"}


def test_an_undisturbed_run_leaves_only_the_file(tmp_path: Path) -> None:
    file = ResumableFile(tmp_path / "out", JOB, resume=False)
    file.write(b"one\n", 1)
    file.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_after_a_kill_it_goes_on_behind_the_last_checkpoint(tmp_path: Path) -> None:
    file = ResumableFile(tmp_path / "out", JOB, resume=False)
    file.write(b"one\n", 1)
    file.checkpoint()
    file.write(b"two\nhal", 1)
    file._stream.flush()  # a kill: written, but no checkpoint and no close
    again = ResumableFile(tmp_path / "out", JOB, resume=True)
    assert again.items == 1
    again.write(b"two\n", 1)
    again.finish()
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_another_job_is_refused(tmp_path: Path) -> None:
    file = ResumableFile(tmp_path / "out", JOB, resume=False)
    file.write(b"one\n", 1)
    file.checkpoint()
    file.close()
    with pytest.raises(UsageError, match="another input, format or model"):
        ResumableFile(tmp_path / "out", {**JOB, "format": "json"}, resume=True)


def test_a_finished_file_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"something else")
    with pytest.raises(UsageError, match="finished or no interrupted output"):
        ResumableFile(tmp_path / "out", JOB, resume=True)
    assert (tmp_path / "out").read_bytes() == b"something else"


def test_a_shortened_file_is_refused(tmp_path: Path) -> None:
    file = ResumableFile(tmp_path / "out", JOB, resume=False)
    file.write(b"one\n", 1)
    file.checkpoint()
    file.close()
    (tmp_path / "out").write_bytes(b"o")
    with pytest.raises(UsageError, match="shorter"):
        ResumableFile(tmp_path / "out", JOB, resume=True)


def test_a_file_without_an_item_goes(tmp_path: Path) -> None:
    ResumableFile(tmp_path / "out", JOB, resume=False).close()
    assert not list(tmp_path.iterdir())
