"""Atomic replacement of files, files that a user names, scratch folders, and what one process uses alone.

In a scratch folder something whole is made before it gets its name.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from bench.core import interrupts
from bench.core.errors import UsageError, naming, reason_of

# What tempfile.mkdtemp puts behind a prefix.
_RANDOM: Final = "[a-z0-9_]{8}"
_OPEN_FILES: Final = ("/proc/self/fd", "/dev/fd")
# To hold a file that others replace.
_MOST_TRIES: Final = 100
# What flock(2) fails with on a file system without locks.
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF)
# As many as Linux follows.
_MOST_LINKS: Final = 40


def make_folder(path: Path, what: str, cure: str) -> None:
    """Creates a writable folder, before the work whose results go there.

    Args:
        path: the folder.
        what: what it is, for people, in front of its path; "" for nothing.
        cure: what the user can do about it.

    Raises:
        UsageError: it cannot be made, or not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UsageError(f"{what}{path} cannot be written: {reason_of(error)}; {cure}") from error


def write_all(file: FileIO, data: bytes) -> None:
    """Writes all of `data` to an unbuffered file, whose `write` may write only a part of it, as on a full disk.

    Raises:
        OSError: with the file's name.
    """
    rest = memoryview(data)
    with naming(file.name):
        while rest:
            rest = rest[file.write(rest) or 0 :]


def append_all(file: FileIO, data: bytes) -> None:
    """Writes all of `data` to the end of an unbuffered file, or nothing: what follows a half one could not be read.

    Args:
        file: a regular file, whose position is its end.
        data: what is added.

    Raises:
        OSError: with the file's name.
    """
    end = file.tell()
    try:
        write_all(file, data)
    except BaseException:
        # The position first: where the file cannot be cut, what follows overwrites the rest of this.
        file.seek(end)
        with contextlib.suppress(OSError):
            file.truncate()
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces a file atomically: after a crash it has its old or its new content.

    A link is replaced too: in a folder of others it might lead to any file. For a file that the user names there is
    `write_named`.
    """
    temporary = temporary_of(path)
    try:
        with naming(path):
            # Anew, so that a link of that name in a folder of others leads nowhere.
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        # Also on a full disk and after Ctrl-C.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def temporary_of(path: Path) -> Path:
    """Where `write_atomically` writes what replaces `path`; whatever is there goes."""
    return path.with_name(path.name + ".tmp")


def write_named(path: Path, data: bytes) -> None:
    """Writes a file that the user named, and nobody else.

    A device, a pipe and an open file of this process, such as `/dev/stdout`, are written as they are; of a symbolic
    link the file is replaced that it leads to; any other file as in `write_atomically`.

    Raises:
        OSError: it cannot be written; with its name.
    """
    if not passes_through(path):
        write_atomically(place_of(path), data)
        return
    number = _descriptor(path)

    def take(name: str, flags: int) -> int:
        # A copy keeps the position, so that what is printed before and after stays; no file is made in /dev.
        return os.open(name, os.O_WRONLY) if number is None else os.dup(number)

    with naming(path), open(path, "wb", buffering=0, opener=take) as file:
        write_all(file, data)


def passes_through(path: Path) -> bool:
    """Whether `path` is written as it is: a device, a pipe, or an open file of this process.

    Raises:
        OSError: its links lead in a circle, or it cannot be looked at.
    """
    if _descriptor(path) is not None:
        return True
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = path.stat().st_mode
        return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    return False


def place_of(path: Path) -> Path:
    """The file that is replaced when `path` is written: `path`, or what it leads to as a symbolic link."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `parent`, removed at the end.

    Its owner holds a lock on it, which the system releases when the owner dies (flock(2)). Folders of the same prefix
    that nobody holds are what killed owners left; they are removed first. Where a file system has no such locks they
    stay.

    Args:
        parent: the folder to make it in.
        prefix: of its name.

    Raises:
        OSError: it cannot be made or removed.
    """
    with contextlib.ExitStack() as stack:
        # No other process takes a folder that is not locked yet for one that was left.
        with _locked(parent, fcntl.LOCK_EX) as locked, interrupts.held():
            if locked:
                _remove_left(parent, prefix)
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            # Unlocked last, so that nobody else removes it meanwhile.
            stack.enter_context(_locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB))
            stack.callback(shutil.rmtree, folder)
        yield folder


def open_held(path: Path, new: bool = False) -> BinaryIO:
    """Opens a file for reading and writing, and holds it until it is closed, as `sole_use` holds a folder.

    Args:
        path: the file; its content stays.
        new: make it if it is not there.

    Raises:
        UsageError: another process holds it.
        OSError: it cannot be opened.
    """

    def take(name: str, flags: int) -> int:
        return os.open(name, flags | (os.O_CREAT if new else 0), 0o666)

    for _ in range(_MOST_TRIES):
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "r+b", opener=take))
            _hold(file.fileno(), path)
            # Who held it before may have removed or replaced it meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    stack.pop_all()
                    return file
    raise UsageError(f"{path} is replaced again and again by another process; wait for its end, or name another file")


@contextlib.contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Holds a folder whose work can be resumed, so that no other process resumes it meanwhile.

    The system ends the hold when its owner dies (flock(2)). Where a file system has no such locks nothing is held.

    Raises:
        UsageError: another process holds it.
        OSError: it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _hold(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _hold(descriptor: int, path: Path) -> None:
    """Locks an open file or folder until it is closed.

    Raises:
        UsageError: another process has locked it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"another process is still at work in {path}; wait for its end or stop it, or give another --out"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Waits until no other process is inside for the same folder; for short steps.

    Where a file system has no locks nothing is waited for.
    """
    with _locked(folder, fcntl.LOCK_EX):
        yield


def _remove_left(parent: Path, prefix: str) -> None:
    """Removes the scratch folders in `parent` that no process holds."""
    for path in parent.iterdir():
        if re.fullmatch(re.escape(prefix) + _RANDOM, path.name) and path.is_dir() and not path.is_symlink():
            with _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as locked:
                if locked:
                    shutil.rmtree(path)


@contextlib.contextmanager
def _flock(folder: Path, how: int) -> Iterator[None]:
    """Locks a folder as flock(2) does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(folder: Path, how: int) -> Iterator[bool]:
    """Locks a folder as flock(2) does; False where that is another's, or is gone, or the file system has no locks."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_flock(folder, how))
            locked = True
        except OSError:
            locked = False
        yield locked


def _descriptor(path: Path) -> int | None:
    """The number of this process's open file that `path` stands for, as `/dev/stdout` and `/dev/fd/63` do."""
    folders = {os.path.realpath(folder) for folder in _OPEN_FILES}
    for _ in range(_MOST_LINKS):
        if path.name.isdecimal() and os.path.realpath(path.parent) in folders:
            return int(path.name)
        try:
            path = path.parent / path.readlink()
        except OSError:
            return None
    return None
