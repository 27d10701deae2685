"""Servers as processes: they come up, are stopped, and explain themselves when they do not."""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.core.errors import TargetError, UsageError
from bench.server import process
from bench.server.lifecycle import check_model, open_target
from bench.server.process import binary, embedded
from bench.server.running import RunningServer, free_ports
from bench.server.server_log import last_words, load_failure
from bench.serving.target import parse_target
from tests.support.locust_process import wait_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An executable that takes the place of tensorflow_model_server."""
    path = tmp_path_factory.mktemp("bin") / "tensorflow_model_server"
    stand_in = ROOT / "tests" / "support" / "stand_in_server.py"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "$@"\n')
    path.chmod(0o755)
    return path


def accepts(address: str) -> bool:
    host, _, port = address.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_server_is_ready_inside_and_gone_after(server_binary: Path, tmp_path: Path) -> None:
    with open_target(parse_target(f"binary:{server_binary}"), tmp_path, "m") as server:
        assert server.rest is not None
        assert server.grpc is not None
        assert accepts(server.rest)
        assert accepts(server.grpc)
        pid = server.pid
        assert pid is not None
    assert ended(pid)
    assert not accepts(server.rest)


def test_a_binary_in_this_folder_is_not_another_in_path(
    server_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`./name` loses its dot as a Path, and a name without a slash is looked for in PATH."""
    other = tmp_path / "other" / server_binary.name
    other.parent.mkdir()
    other.write_text("#!/bin/sh\necho the other one, not found\nexit 3\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(server_binary.parent)
    for text in (f"./{server_binary.name}", server_binary.name):
        with open_target(parse_target(f"binary:{text}"), tmp_path) as server:
            assert server.pid is not None


def test_a_binary_is_said_to_be_open_to_other_machines(
    server_binary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Serving's own program has no flag for an address; the embedded server is on loopback."""
    with binary(server_binary, tmp_path) as server:
        assert server.backend == "binary"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"{server_binary} listens on all addresses of this machine: others can ask it, and load other models into it; "
        "keep them out by a firewall, or give docker:cpu"
    ]


def test_it_is_stopped_when_the_block_fails(server_binary: Path, tmp_path: Path) -> None:
    seen: list[RunningServer] = []
    with pytest.raises(ZeroDivisionError), binary(server_binary, tmp_path) as server:
        seen.append(server)
        raise ZeroDivisionError
    assert seen[0].pid is not None  # type: ignore[unreachable]
    assert ended(seen[0].pid)


@pytest.fixture
def wrapped_binary(server_binary: Path, tmp_path: Path) -> Path:
    """A script that starts the server as a child and stays, as the entry point of Serving's image does."""
    path = tmp_path / "tf_serving_entrypoint.sh"
    path.write_text(f'#!/bin/sh\n"{server_binary}" "$@"\n')
    path.chmod(0o755)
    return path


def test_what_a_script_has_started_ends_with_it(wrapped_binary: Path, tmp_path: Path) -> None:
    with binary(wrapped_binary, tmp_path) as server:
        assert server.pid is not None
        (child,) = psutil.Process(server.pid).children()
    assert ended(child.pid)
    assert server.rest is not None
    assert not accepts(server.rest)


OWNER = """
import pathlib, sys
from bench.server.process import binary
with binary(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])) as server:
    print(server.pid, flush=True)
    sys.stdin.read()
"""


def test_no_orphan_is_left_by_an_owner_that_is_killed(wrapped_binary: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", OWNER, str(wrapped_binary), str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        script = psutil.Process(int(owner.stdout.readline()))
        pids = [script.pid, *(child.pid for child in script.children())]
        owner.kill()
    assert len(pids) == 2
    assert wait_for(lambda: all(ended(pid) for pid in pids), 30)


def test_the_guardian_stays_until_the_server_has_ended(
    server_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner that was killed while it waited for the end left a script's server running."""
    pids: list[int] = []
    left: list[bool] = []

    @contextlib.contextmanager
    def guarded(_kind: str, name: str) -> Iterator[None]:
        pids.append(int(name))
        yield
        left.append(ended(pids[0]))

    monkeypatch.setattr(process, "guarded", guarded)
    with binary(server_binary, tmp_path) as server:
        assert pids == [server.pid]
    assert left == [True]


def test_flags_with_one_dash_say_how_there_are_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of two flags counts, and it was the suite's own."""
    words: list[str] = []

    def launched(command: list[str]) -> list[str]:
        words.extend(command)
        return ["/bin/sh", "-c", "exit 3"]

    monkeypatch.setattr("bench.core.interrupts.launched", launched)
    with pytest.raises(TargetError, match="exit status 3"), embedded(tmp_path, flags=["-monitoring_config_file=/f"]):
        pass
    assert [word for word in words if "monitoring" in word] == ["-monitoring_config_file=/f"]


def test_a_server_that_ends_is_reported_with_its_last_line(server_binary: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(TargetError, match="exit status 7: the model is broken"),
        binary(server_binary, tmp_path, "broken"),
    ):
        pass


def test_a_server_that_never_becomes_ready_times_out(server_binary: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(TargetError, match=r"not ready in 1 s \(LOADING\); last output: still reading a large file$"),
        binary(server_binary, tmp_path, "slow", startup_timeout=1.0),
    ):
        pass


def test_why_a_model_does_not_load_is_reported_at_once(server_binary: Path, tmp_path: Path) -> None:
    """The real server retries for minutes without opening a port; its log has the reason."""
    began = time.monotonic()
    with (
        pytest.raises(
            TargetError,
            match="binary server did not start: model 'cut' of .* does not load: DATA_LOSS: Read less bytes than "
            "requested; export it again, or give another folder$",
        ),
        binary(server_binary, tmp_path, "cut", startup_timeout=50.0),
    ):
        pass
    assert time.monotonic() - began < 25


def test_the_state_of_a_model_that_failed_to_load_is_reported_at_once(server_binary: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(TargetError, match="END: Read less bytes than requested"),
        binary(server_binary, tmp_path, "given-up", startup_timeout=50.0),
    ):
        pass


def test_only_flags_that_name_other_models_leave_the_folder_unchecked(tmp_path: Path) -> None:
    target = parse_target("embedded")
    for flag in ("--model_config_file_poll_wait_seconds=5", "--prefer_tflite_model=false"):
        with pytest.raises(UsageError, match="no model folder"):
            check_model(target, tmp_path / "none", [flag])
    for words in (["--model_config_file=/f"], ["--model_config_file", "/f"], ["--use_tflite_model"]):
        check_model(target, tmp_path / "none", words)


@pytest.mark.parametrize("where", ["model[1]", "above*/model"])
def test_a_folder_in_which_a_server_finds_no_variables_is_refused(tmp_path: Path, where: str) -> None:
    """TensorFlow takes its path for a pattern; in a container it has another one."""
    graph = tmp_path / where / "1" / "saved_model.pb"
    graph.parent.mkdir(parents=True)
    graph.write_bytes(b"graph")
    for target in ("embedded", "binary:/bin/true"):
        with pytest.raises(UsageError, match="for a pattern; rename the folder"):
            check_model(parse_target(target), tmp_path / where)
    check_model(parse_target("docker:cpu"), tmp_path / where)


@pytest.mark.parametrize("model", ["usage", "forgiving"])
def test_a_flag_that_the_server_does_not_know_ends_its_start(server_binary: Path, tmp_path: Path, model: str) -> None:
    """Whether it ends, or goes on as another server than the one that was asked for."""
    with (
        pytest.raises(TargetError, match=r"did not start: it does not know the flag --no_such_flag=1; correct it"),
        binary(server_binary, tmp_path, model),
    ):
        pass


@pytest.mark.parametrize("kind", ["pipe", "terminal", "open file", "FIFO"])
def test_a_log_that_cannot_be_read_back_is_refused(kind: str, server_binary: Path, tmp_path: Path) -> None:
    """A pipe was an output that "cannot be opened", and an open file was emptied."""
    if kind == "FIFO":
        log = tmp_path / "fifo"
        os.mkfifo(log)
        descriptors: tuple[int, ...] = ()
    else:
        path = tmp_path / "all.log"
        path.write_text("before\n")
        opened = os.open(path, os.O_RDWR)
        descriptors = {"pipe": lambda: os.pipe()[::-1], "terminal": os.openpty}.get(kind, lambda: (opened,))()
        log = Path(f"/dev/fd/{descriptors[0]}")
        descriptors = tuple({*descriptors, opened})
    says = (
        rf"^the log {log} is a pipe, a device or an open file, from which the server's output cannot .*; name a file$"
    )
    try:
        with pytest.raises(UsageError, match=says), binary(server_binary, tmp_path, log=log):
            pass
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert kind != "open file" or path.read_text() == "before\n"


def test_a_log_may_be_dropped(server_binary: Path, tmp_path: Path) -> None:
    with binary(server_binary, tmp_path, log=Path(os.devnull)) as server:
        assert server.pid is not None


def test_the_log_file_is_named(server_binary: Path, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with (
        pytest.raises(TargetError, match=f"Read less bytes than requested; .*; see {log}$"),
        binary(server_binary, tmp_path, "cut", log=log),
    ):
        pass
    assert "Restoring SavedModel bundle" in log.read_text()


def test_a_program_of_another_machine_is_one_line(tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_bytes(b"\x00\x01\x02")
    program.chmod(0o755)
    with pytest.raises(TargetError, match="cannot run .*server: Exec format error$"), binary(program, tmp_path):
        pass


@pytest.mark.parametrize(("name", "why"), [("none", "it does not exist"), ("", "it is a folder")])
def test_what_is_not_a_program_says_why(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"not an executable file: {why}"), binary(tmp_path / name, tmp_path):
        pass


@pytest.mark.parametrize(
    ("ports", "reason"),
    [
        ((8500, 8500), "gRPC and REST cannot share port 8500"),
        ((0, 8501), "gRPC port 0 is out of range"),
        ((8500, 99999), "REST port 99999 is out of range"),
        ((-1, 8501), "gRPC port -1 is out of range"),
    ],
)
def test_ports_that_cannot_be(server_binary: Path, tmp_path: Path, ports: tuple[int, int], reason: str) -> None:
    with pytest.raises(UsageError, match=reason), binary(server_binary, tmp_path, ports=ports):
        pass


def test_a_port_in_use_is_named(server_binary: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (other,) = free_ports(1)
        with (
            pytest.raises(TargetError, match=f"REST port {port} is in use; stop what listens there"),
            binary(server_binary, tmp_path, ports=(other, port)),
        ):
            pass


def test_a_free_port_is_for_servers_and_is_given_to_nobody_else() -> None:
    first, second = free_ports(2)
    assert first != second
    for port in (first, second):
        with socket.socket() as unaware, pytest.raises(OSError, match="in use"):
            unaware.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("flag", ["--port=1", "-rest_api_port=2", "--model_name=x", "--model_base_path=/x"])
def test_flags_that_are_ours_are_refused_by_name(server_binary: Path, tmp_path: Path, flag: str) -> None:
    name = flag.lstrip("-").partition("=")[0]
    with (
        pytest.raises(UsageError, match=f"--{name} is set by bertbench"),
        binary(server_binary, tmp_path, flags=[flag]),
    ):
        pass


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-31 12:00:00.1: E tensorflow_serving/util/retrier.cc:37] Loading servable: {name: bert version: 7} "
        "failed: NOT_FOUND: Op type not registered 'NoSuchOp' in binary running on host. [[{{node a/b}}]]",
        "model 'bert' version 7 failed to load, attempt 1 of 6, next in 60 s: NOT_FOUND: Op type not registered "
        "'NoSuchOp' in binary running on host.",
        "model 'bert' version 7 failed to load, no attempts left: NOT_FOUND: Op type not registered 'NoSuchOp' "
        "in binary running on host.",
    ],
)
def test_why_a_model_does_not_load(line: str) -> None:
    reason = "NOT_FOUND: Op type not registered 'NoSuchOp' in binary running on host."
    assert load_failure(f"before\n{line}\nafter\n", "bert") == reason
    assert load_failure(line, "other") is None


def test_tensorflows_start_up_lines_are_not_the_reason_of_an_end() -> None:
    text = "Failed to bind\nE cuda_dnn.cc:9261] Unable to register cuDNN factory: the attempt failed\n"
    assert last_words(text) == "Failed to bind"
    assert last_words("") == "no output"


def test_a_server_that_ends_during_a_run_is_reported(server_binary: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="ended during the run"), binary(server_binary, tmp_path) as server:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        for _ in range(100):
            if ended(server.pid):
                break
            time.sleep(0.02)


def test_a_path_without_a_program_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not an executable file"), binary(tmp_path / "none", tmp_path):
        pass


def test_the_server_goes_when_its_starter_is_killed(server_binary: Path, tmp_path: Path) -> None:
    code = (
        "import pathlib, time\nfrom bench.server.process import binary\n"
        f"with binary(pathlib.Path({str(server_binary)!r}), pathlib.Path({str(tmp_path)!r})) as server:\n"
        "    print(server.pid, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.kill()
        starter.wait()
    for _ in range(100):
        if ended(pid):
            break
        time.sleep(0.05)
    assert ended(pid)


def test_a_remote_target_that_does_not_answer_is_exit_code_4() -> None:
    (port,) = free_ports(1)
    for text in (f"http://127.0.0.1:{port}", f"grpc://127.0.0.1:{port}"):
        with (
            pytest.raises(TargetError, match="not ready"),
            open_target(parse_target(text), None, startup_timeout=0.2),
        ):
            pass


def test_a_remote_target_is_used_as_it_is(server_binary: Path, tmp_path: Path) -> None:
    with binary(server_binary, tmp_path) as running:
        assert running.rest is not None
        with open_target(parse_target(running.rest), None) as server:
            assert (server.rest, server.grpc, server.pid) == (running.rest, None, None)
        with (
            pytest.raises(TargetError, match="no such model"),
            open_target(parse_target(running.rest), None, "other", startup_timeout=0.2),
        ):
            pass


def test_options_that_do_not_go_together_are_usage_errors() -> None:
    with (
        pytest.raises(UsageError, match="do not reach"),
        open_target(parse_target("http://127.0.0.1:1"), None, flags=["--enable_batching"]),
    ):
        pass
    with pytest.raises(UsageError, match="not a server"), open_target(parse_target("estimator"), None):
        pass
    with pytest.raises(UsageError, match="--model-dir"), open_target(parse_target("embedded"), None):
        pass
