"""An output file that is taken up after a kill, and refuses whatever would mix two outputs."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.core import journal
from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.core.journal import ResumableFile

JOB = {"--format": "tsv", "--target": "embedded"}


def begun(path: Path, *items: bytes) -> ResumableFile:
    """A file with these items on the disk, and its journal."""
    file = ResumableFile(path, JOB, resume=False)
    for item in items:
        file.write(item, item)
    file.checkpoint()
    return file


def resumed(path: Path, *items: bytes, job: dict[str, Any] = JOB) -> ResumableFile:
    """The same taken up, with these items as the input that it was made of."""
    file = ResumableFile(path, job, resume=True)
    try:
        for item in items:
            file.skip(item)
        file.check_input("in.tsv", len(items))
    except UsageError:
        file.close()
        raise
    return file


def test_an_undisturbed_run_leaves_only_the_file(tmp_path: Path) -> None:
    file = ResumableFile(tmp_path / "out", JOB, resume=False)
    file.write(b"one\n", b"1")
    file.write(b"]")
    file.finish()
    assert file.items == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_after_a_kill_it_goes_on_behind_the_last_checkpoint(tmp_path: Path) -> None:
    file = begun(tmp_path / "out", b"one\n")
    file.write(b"two\nhal", b"2")
    file._stream.close()  # a kill: written, but no checkpoint and no close of its own
    again = resumed(tmp_path / "out", b"one\n")
    assert again.items == 1
    again.write(b"two\n", b"two\n")
    again.finish()
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("earlier", [None, b"finished\n"])
def test_a_file_without_an_item_has_a_journal_before_anything_happens_to_it(
    earlier: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while the journal is written leaves what was there; one after it a file that says that it is begun."""
    out = tmp_path / "out"
    if earlier is not None:
        out.write_bytes(earlier)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def killed(path: Path, data: bytes) -> None:
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        write_atomically(path, data)
        raise KeyboardInterrupt

    opened: list[ResumableFile] = []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(journal, "write_atomically", killed)
        opened.append(ResumableFile(out, JOB, resume=False))
        opened[0].write(b"one\n", b"1")
    for file in opened:
        file._stream.close()  # a kill: no close of its own
    again = resumed(out)
    again.write(b"one\n", b"1")
    again.finish()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out": b"one\n"}


def test_a_file_that_cannot_be_made_leaves_no_journal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="'.*/no/out'"):
        ResumableFile(tmp_path / "no" / "out", JOB, resume=False)
    (tmp_path / "link").symlink_to(tmp_path / "no" / "out")
    with pytest.raises(OSError, match="link"):
        ResumableFile(tmp_path / "link", JOB, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_a_folder_in_which_no_journal_can_be_written_is_known_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").write_bytes(b"finished\n")
    monkeypatch.setattr("os.access", lambda path, how: Path(path) != tmp_path)
    with pytest.raises(PermissionError, match=r"out\.progress"):
        ResumableFile(tmp_path / "out", JOB, resume=False)
    assert (tmp_path / "out").read_bytes() == b"finished\n"


def test_it_can_be_taken_up_again_and_again(tmp_path: Path) -> None:
    begun(tmp_path / "out", b"one\n").close()
    second = resumed(tmp_path / "out", b"one\n")
    second.write(b"two\n", b"two\n")
    second.checkpoint()
    second.close()
    third = resumed(tmp_path / "out", b"one\n", b"two\n")
    third.finish()
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize(
    "items", [(b"ONE\n", b"two\n"), (b"one\n", b"two!\n"), (b"one\n",), (b"two\n", b"one\n"), (b"on", b"e\ntwo\n!")]
)
def test_an_input_that_was_edited_is_refused(tmp_path: Path, items: tuple[bytes, ...]) -> None:
    begun(tmp_path / "out", b"one\n", b"two\n").close()
    with pytest.raises(UsageError, match="in.tsv has changed since .*out was begun: its first 2 sentences are not"):
        resumed(tmp_path / "out", *items)
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n"


def test_nothing_is_written_before_the_input_was_checked(tmp_path: Path) -> None:
    begun(tmp_path / "out", b"one\n").close()
    file = ResumableFile(tmp_path / "out", JOB, resume=True)
    with pytest.raises(ValueError, match="not checked"):
        file.write(b"two\n", b"two\n")
    file.close()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"--format": "json"}, "--format was 'tsv', now 'json'"),
        ({"--target": "http://h:1"}, "--target was 'embedded', now 'http://h:1'"),
        ({"checkpoint": "sha256:2"}, "checkpoint was None, now 'sha256:2'"),
    ],
)
def test_another_job_is_refused_by_name(tmp_path: Path, changed: dict[str, str], reason: str) -> None:
    begun(tmp_path / "out", b"one\n").close()
    with pytest.raises(
        UsageError, match=f"was started with other options .{reason}.; give the same, or leave out --resume"
    ):
        resumed(tmp_path / "out", b"one\n", job={**JOB, **changed})
    assert (tmp_path / "out").read_bytes() == b"one\n"


def test_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no .*out to resume; leave out --resume"):
        resumed(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_finished_file_or_a_stranger_s_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"something else")
    with pytest.raises(UsageError, match="has no journal out.progress beside it: it is finished, or not an "):
        resumed(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"something else"


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"o", "is shorter than"), (b"two\n", "was changed"), (b"onX\nmore", "was changed")],
)
def test_an_output_that_is_not_what_was_written_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    begun(tmp_path / "out", b"one\n").close()
    (tmp_path / "out").write_bytes(data)
    with pytest.raises(UsageError, match=reason):
        resumed(tmp_path / "out", b"one\n")
    assert (tmp_path / "out").read_bytes() == data


def test_an_output_that_is_gone_is_refused(tmp_path: Path) -> None:
    begun(tmp_path / "out", b"one\n").close()
    (tmp_path / "out").unlink()
    with pytest.raises(UsageError, match="shorter"):
        resumed(tmp_path / "out", b"one\n")


@pytest.mark.parametrize(
    ("journal", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "is not a journal of bertbench"),
        (b"{}", "is not a journal of bertbench"),
        (b'{"format": 2, "items": 1}', "is not a valid journal .job is missing."),
        (
            b'{"format": 2, "items": "1", "job": {}, "bytes": 0, "read": "", "written": ""}',
            "items: expected int, got str",
        ),
        (b'{"format": 2, "items": 1, "job": {}, "bytes": -4, "read": "", "written": ""}', "bytes is -4"),
        (b'{"format": 2, "items": -1, "job": {}, "bytes": 0, "read": "", "written": ""}', "items is -1"),
        (b'{"job": "0f", "items": 1, "bytes": 4}', "has journal format 1, this version reads 2"),
        (b'{"format": 3, "items": 1}', "has journal format 3, this version reads 2"),
    ],
)
def test_a_journal_that_cannot_be_used_is_refused(tmp_path: Path, journal: bytes, reason: str) -> None:
    begun(tmp_path / "out", b"one\n").close()
    (tmp_path / "out.progress").write_bytes(journal)
    with pytest.raises(UsageError, match=reason) as caught:
        resumed(tmp_path / "out", b"one\n")
    assert "leave out --resume" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_journal_says_what_it_belongs_to(tmp_path: Path) -> None:
    begun(tmp_path / "out", b"one\n").close()
    stored = json.loads((tmp_path / "out.progress").read_bytes())
    assert stored["format"] == 2
    assert (stored["job"], stored["items"], stored["bytes"]) == (JOB, 1, 4)


def test_a_file_without_an_item_goes(tmp_path: Path) -> None:
    ResumableFile(tmp_path / "out", JOB, resume=False).close()
    assert not list(tmp_path.iterdir())


def test_what_was_there_stays_until_the_first_write(tmp_path: Path) -> None:
    """A run that fails before, as at a server that does not answer, has nothing to put in its place."""
    out = tmp_path / "out"
    out.write_bytes(b"finished\n")
    ResumableFile(out, JOB, resume=False).close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out": b"finished\n"}
    file = ResumableFile(out, JOB, resume=False)
    file.write(b"[")
    assert (tmp_path / "out.progress").exists()
    file.close()
    assert not list(tmp_path.iterdir())


def test_what_was_begun_stays_as_it_is_if_nothing_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    begun(out, b"one\n").close()
    out.write_bytes(b"one\ntw")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    resumed(out, b"one\n").close()
    ResumableFile(out, JOB, resume=False).close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    resumed(out, b"one\n").finish()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out": b"one\n"}


@pytest.mark.parametrize("items", [(), (b"one\n",)])
def test_a_file_that_is_being_written_is_nobody_else_s(tmp_path: Path, items: tuple[bytes, ...]) -> None:
    """Two runs would mix their lines, and both end well."""
    out = tmp_path / "out"
    first = begun(out, *items)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for resume in (False, True):
        with pytest.raises(UsageError, match=f"another process is still at work in {out}; wait for its end or stop it"):
            ResumableFile(out, {}, resume=resume)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    first.write(b"two\n", b"2")
    first.finish()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out": b"".join((*items, b"two\n"))}
    ResumableFile(out, JOB, resume=False).close()
