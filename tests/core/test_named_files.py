"""What a user names for output is written as what it is: a link, a device, a pipe, an open file, or a new file."""

import errno
import os
import stat
from pathlib import Path

import pytest

from bench.cli.common.values import output_path
from bench.core.atomic_files import write_named
from bench.core.errors import UsageError, one_line


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    link.symlink_to("there/file")
    for text in (b"new", b"replaced"):
        write_named(output_path(str(link)), text)
        assert (link.is_symlink(), target.read_bytes()) == (True, text)
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_new_file_and_one_that_is_there(tmp_path: Path) -> None:
    for text in (b"new", b"replaced"):
        write_named(output_path(str(tmp_path / "file")), text)
        assert (tmp_path / "file").read_bytes() == text


def test_a_link_to_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("none/file")
    with pytest.raises(UsageError, match="no folder .*none for file; make it first"):
        output_path(str(tmp_path / "link"))


def test_links_in_a_circle_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    line = f"cannot open {tmp_path}/a: its symbolic links lead in a circle; check the path"
    with pytest.raises(OSError, match="Too many levels") as caught:
        output_path(str(tmp_path / "a"))
    assert one_line(caught.value) == line
    with pytest.raises(OSError, match="Too many levels") as caught:
        write_named(tmp_path / "a", b"")
    assert one_line(caught.value) == line


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_named(output_path(str(pipe)), b"text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    """Of the numbers of /dev/full, which is always full."""
    device = tmp_path / "full"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        device.open("r+b", buffering=0).close()
    except PermissionError:
        pytest.skip("only root makes devices, on a file system that allows them")
    with pytest.raises(OSError, match="No space") as caught:
        write_named(output_path(str(device)), b"text")
    assert caught.value.errno == errno.ENOSPC
    assert one_line(caught.value).startswith(f"cannot write {device}: no space left on the device")
    assert stat.S_ISCHR(device.stat().st_mode)


@pytest.mark.parametrize("folder", ["/proc/self/fd", "/dev/fd"])
@pytest.mark.parametrize("links", [0, 1])
def test_an_open_file_is_written_where_it_stands(folder: str, links: int, tmp_path: Path) -> None:
    """As `/dev/stdout` where standard output goes to a file: what was printed before and comes later stays."""
    with (tmp_path / "output").open("wb", buffering=0) as output:
        path = Path(f"{folder}/{output.fileno()}")
        if links:
            (tmp_path / "stdout").symlink_to(path)
            path = tmp_path / "stdout"
        output.write(b"before ")
        write_named(output_path(str(path)), b"named ")
        output.write(b"after")
        number = output.fileno()
    assert (tmp_path / "output").read_bytes() == b"before named after"
    with pytest.raises(UsageError, match=f"/{number} cannot be written; name another place"):
        output_path(f"{folder}/{number}")


def test_a_pipe_that_the_shell_opened(tmp_path: Path) -> None:
    """As `>(cat)` gives one."""
    reader, writer = os.pipe()
    write_named(output_path(f"/dev/fd/{writer}"), b"text")
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert pipe.read() == b"text"
