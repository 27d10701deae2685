"""What the system refuses is one line that names the file, what is wrong with it, and what to do."""

import errno
import os
import resource
import shutil
import ssl
import subprocess
import sys
from io import FileIO
from pathlib import Path

import pytest

from bench.core.atomic_files import write_all, write_atomically
from bench.core.cache import cache_dir, make_cache_dir
from bench.core.errors import (
    ExitCode,
    TargetError,
    UsageError,
    did_you_mean_option,
    exit_code_of,
    naming,
    one_line,
    reason_of,
)

EXAMPLE = Path(__file__).parents[2] / "results" / "example" / "rest"


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.ENOSPC, "cannot write /x: no space left on the device; free some, or name another place"),
        (errno.EDQUOT, "cannot write /x: the disk quota is used up; free some, or name another place"),
        (errno.EFBIG, "cannot write /x: the file grows larger than is allowed; raise the limit (ulimit -f)"),
        (errno.EROFS, "cannot write /x: the file system is read-only; name another place"),
        (errno.EACCES, "cannot open /x: permission denied; check owner and mode, or name another place"),
        (errno.EPERM, "cannot open /x: the operation is not permitted; check owner and mode"),
        (errno.EISDIR, "cannot open /x: it is a folder; name a file"),
        (errno.ENOTDIR, "cannot open /x: a part of the path is not a folder; check the path"),
        (errno.ENAMETOOLONG, "cannot open /x: the name is too long; give a shorter one"),
        (errno.ENOENT, "cannot open /x: the file or folder does not exist; check the path"),
        (errno.ELOOP, "cannot open /x: its symbolic links lead in a circle; check the path"),
        (errno.EMFILE, "cannot open /x: too many files are open in this process; raise the limit (ulimit -n)"),
        (errno.ENFILE, "cannot open /x: too many files are open on this machine"),
        (errno.EIO, "cannot open /x: the device reports an error; check the disk"),
        (errno.EEXIST, "cannot write /x: there is a file of that name; name another place"),
        (errno.EXDEV, "cannot open /x: invalid cross-device link; check it and try again"),
    ],
)
def test_every_error_of_the_system_has_its_line(number: int, line: str) -> None:
    error = OSError(number, os.strerror(number), "/x")
    assert one_line(error).startswith(line)
    assert "\n" not in one_line(error)
    assert exit_code_of(error) is ExitCode.USAGE
    assert reason_of(error) in line


def test_the_number_of_a_tls_error_is_not_the_system_s() -> None:
    """All of them, the certificates' too, were "the operation is not permitted"."""
    text = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get issuer (_ssl.c:1006)"
    assert reason_of(ssl.SSLError(1, text)) == "certificate verify failed: unable to get issuer"
    assert reason_of(ssl.SSLEOFError(8, "EOF occurred (_ssl.c:1)")) == "EOF occurred"


def test_the_file_that_was_meant_is_named() -> None:
    assert "cannot open /run.json: " in one_line(OSError(errno.ENOENT, "x", "/run.json.tmp"))
    assert "cannot open /b: " in one_line(OSError(errno.ENOENT, "x", "/a", None, "/b"))
    assert "cannot open /raw: " in one_line(OSError(errno.ENOENT, "x", b"/raw"))
    assert "cannot write the output: no space" in one_line(OSError(errno.ENOSPC, "x"))
    assert one_line(OSError("two\nlines")) == "cannot open the output: two lines; check it and try again"


def test_no_temporary_folder_names_its_variable() -> None:
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/']")
    assert one_line(error) == "no temporary folder can be written; set TMPDIR to one that can"


def test_our_own_errors_keep_their_words_and_codes() -> None:
    assert one_line(UsageError("a b; c")) == "a b; c"
    assert exit_code_of(TargetError("x")) is ExitCode.TARGET_FAILED


def test_a_stream_s_error_gets_its_file() -> None:
    with pytest.raises(OSError, match="No space") as caught, naming("/a/file"):
        Path("/dev/full").write_bytes(b"x")
    assert one_line(caught.value).startswith("cannot write /a/file: no space left on the device")
    with pytest.raises(OSError, match="No such") as caught, naming("/a/file"):
        Path("/no/such").read_bytes()
    assert caught.value.filename == "/no/such"


def test_a_copied_folder_s_error_names_the_copy(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "file").write_bytes(b"x")

    def copy(source: str, target: str) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)

    with pytest.raises(shutil.Error) as caught:
        shutil.copytree(tmp_path / "from", tmp_path / "to", copy_function=copy)
    assert one_line(caught.value).startswith(f"cannot write {tmp_path}/to/file: no space left on the device")


def test_a_disk_that_takes_a_part_is_full(tmp_path: Path) -> None:
    """A limit on file sizes, as a full disk does it: the part that fits is written, and the next write fails."""
    code = (
        "import pathlib, resource, sys\nfrom bench.core.atomic_files import write_all\n"
        "from bench.core.errors import one_line\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n write_all(open(sys.argv[1], 'xb', buffering=0), b'x' * 1500)\n"
        "except OSError as error:\n print(one_line(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "f"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {tmp_path}/f: the file grows larger than is allowed")
    assert (tmp_path / "f").stat().st_size == 1000


def test_all_of_it_is_written(tmp_path: Path) -> None:
    class Slow(FileIO):
        def write(self, data: object) -> int:
            return super().write(bytes(data)[:3])  # type: ignore[call-overload]

    with Slow(str(tmp_path / "f"), "w") as file:
        write_all(file, b"0123456789")
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "f"
    with pytest.raises(FileNotFoundError) as caught:
        write_atomically(path, b"new")
    assert one_line(caught.value).startswith(f"cannot open {path}: ")
    path.mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught_too:
        write_atomically(path, b"new")
    assert one_line(caught_too.value) == f"cannot open {path}: it is a folder; name a file"
    assert [entry.name for entry in path.parent.iterdir()] == ["f"]


@pytest.mark.parametrize("home", ["/proc/nohome", "/dev/null", "/dev/null/x"])
def test_a_home_that_cannot_hold_the_cache_names_the_cure(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", home)
    reason = f"bertbench's cache {home}/.cache/bertbench cannot be written: .*; set XDG_CACHE_HOME to a folder"
    with pytest.raises(UsageError, match=reason):
        make_cache_dir()


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    with pytest.raises(UsageError, match="no home folder.*set XDG_CACHE_HOME"):
        cache_dir()


def run(*words: str, limit: int | None = None, **given: object) -> "subprocess.CompletedProcess[str]":
    """The command line as a process, with a limit on the size of files."""
    bound = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    # What measures the branches of subprocesses could not write its file either.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "bench", *words],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=bound,
        **{"env": env, **given},
    )


def test_the_command_line_says_which_file_is_too_large(tmp_path: Path) -> None:
    done = run("baseline", "add", str(EXAMPLE), "--store", str(tmp_path / "b"), limit=5000, stdout=subprocess.DEVNULL)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"bertbench: cannot write {tmp_path}/b/")
    assert "the file grows larger than is allowed" in done.stderr


def test_an_output_that_is_full_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = run("baseline", "list", "--store", str(tmp_path), stdout=full)
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        ["bertbench: cannot write the output: no space left on the device; free some, or name another place"],
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("report", str(EXAMPLE), "--out", "{}/report"), 0),
        (("gate", "history", str(EXAMPLE)), 2),
        (("baseline", "add", str(EXAMPLE), "--store", "{}/store"), 0),
        (("calibrate",), 2),
        (("verify",), 2),
        (("demo", "--out", "{}"), 2),
    ],
    ids=["report", "history", "baseline", "calibrate", "verify", "demo"],
)
def test_a_home_that_is_not_there_is_no_more_than_one_line(words: tuple[str, ...], code: int, tmp_path: Path) -> None:
    home = {**os.environ, "HOME": "/proc/nohome"}
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        home.pop(name, None)
    done = run(*(word.format(tmp_path) for word in words), stdout=subprocess.DEVNULL, env=home)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == (1 if code else 0), done.stderr
    assert "Errno" not in done.stderr


@pytest.mark.parametrize(
    ("option", "known", "meant"),
    [
        ("--target", ("--host", "--tags"), "--host"),
        ("--duration", ("--run-time", "-t", "--max-duration"), "--run-time"),
        ("--host", ("--out", "--baseline"), ""),
        ("--arivals", ("--arrivals", "--out"), "--arrivals"),
        ("-warmup", ("--warmup",), "--warmup"),
        ("-o", ("--out",), ""),
    ],
)
def test_an_unknown_option_is_known_by_its_other_name_or_its_neighbour(
    option: str, known: tuple[str, ...], meant: str
) -> None:
    assert did_you_mean_option(option, known) == (f"; did you mean {meant}?" if meant else "")
