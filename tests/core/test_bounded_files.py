import os
import tracemalloc
from pathlib import Path

import pytest

from bench.core.atomic_files import write_atomically
from bench.core.bounded_files import MEBIBYTE, own_file, read_regular
from bench.core.errors import UsageError, one_line


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(UsageError, match="over 4 bytes"):
        read_regular(path, 4)


def test_a_small_file_takes_little_memory_whatever_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    tracemalloc.start()
    try:
        assert read_regular(path, 256 * MEBIBYTE) == b"12345"
        assert tracemalloc.get_traced_memory()[1] < MEBIBYTE
    finally:
        tracemalloc.stop()


def test_a_file_of_the_kernel_s_whose_size_is_0_is_read() -> None:
    assert read_regular(Path("/proc/self/status"), MEBIBYTE).startswith(b"Name:")


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UsageError, match="pipe or a device"):
            read_regular(path, 5)


@pytest.mark.parametrize("name", ["../secret", "link", "inside/../../secret"])
def test_what_leads_out_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to("../secret")
    with pytest.raises(UsageError, match="leads out of its folder"):
        own_file(folder, name)
    with pytest.raises(UsageError, match="leads out of its folder"):
        own_file(folder, str(tmp_path / "secret"))


def test_links_within_a_folder_and_to_it_are_followed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("own")
    (tmp_path / "folder" / "link").symlink_to("file")
    (tmp_path / "other").symlink_to("folder")
    assert own_file(tmp_path / "other", "link").read_text() == "own"


def test_what_is_written_follows_no_link(tmp_path: Path) -> None:
    """A folder of others may have a link where the file is written first."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "report.md.tmp").symlink_to("secret")
    write_atomically(tmp_path / "report.md", b"report")
    assert (tmp_path / "secret").read_text() == "secret"
    assert (tmp_path / "report.md").read_text() == "report"


def test_a_message_is_one_line_that_a_terminal_does_not_act_on() -> None:
    line = one_line(UsageError("a\x1b[2Jb\nc\x00d\u202ee\udcff ü"))
    assert line == "a\\x1b[2Jb c\\x00d\\u202ee\\udcff ü"
    assert line.isprintable()
