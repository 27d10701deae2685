"""Containers of an Engine that says what it is told: what a real one lacks on most machines, such as a GPU."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound

from bench.core.errors import TargetError, UsageError
from bench.server.container import IMAGE_VARIABLES, IMAGES, Device, docker
from bench.server.container_engine import answering, is_local, require_own_machine
from bench.server.lifecycle import watched
from bench.server.process import MONITORING
from bench.server.running import RunningServer
from bench.serving.container_limits import ContainerLimits
from tests.support.fake_engine import GPU_REFUSAL, FakeEngine, fake_engine
from tests.support.locust_process import wait_for

IMAGE = "own/serving:1"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    """One whose container has ended as soon as it is started."""
    ended = {"Status": "exited", "ExitCode": 1, "Pid": 0}
    made = FakeEngine(images=(IMAGE,), state=ended, log="E server.cc:1] no such device\n")
    for variable in IMAGE_VARIABLES.values():
        monkeypatch.setenv(variable, IMAGE)
    # Also where the tests run in a container.
    monkeypatch.setattr("bench.server.container_engine.container_kind", lambda: None)
    with fake_engine(made, tmp_path) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        yield made


def fails(engine: FakeEngine, device: Device, folder: Path, says: str, **more: Any) -> None:
    """Starts a container, which must fail with one line, and leave nothing."""
    with pytest.raises(TargetError, match=says) as caught, docker(device, folder, startup_timeout=5, **more):
        pass
    assert "\n" not in str(caught.value)
    assert engine.removed == len(engine.created)


class Nvml:
    """NVIDIA's library as pynvml has it."""

    class NVMLError(Exception):
        """Its only error."""

    def __init__(self, count: int | None) -> None:
        self.count = count

    def nvmlInit(self) -> None:  # noqa: N802
        if self.count is None:
            raise self.NVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        assert self.count is not None
        return self.count


def test_limits_device_and_label_are_asked_for(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(1))
    limits = ContainerLimits(cpus=1.5, memory=2 << 30, cpuset="0-1")
    fails(engine, Device("gpu", limits), tmp_path, "exit status 1: .*no such device", flags=["--x=1"])
    (created,) = engine.created
    host = created["HostConfig"]
    assert host["DeviceRequests"][0] | {"Count": -1, "Capabilities": [["gpu"]]} == host["DeviceRequests"][0]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"], host["CpusetCpus"]) == (
        1_500_000_000,
        2 << 30,
        2 << 30,
        "0-1",
    )
    assert set(created["Labels"]) == {"bertbench.server"}
    assert created["Image"] == IMAGE
    assert created["Cmd"] == ["--x=1", "--monitoring_config_file=/bertbench-monitoring_config_file"]
    (mount,) = host["Mounts"]
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == (str(tmp_path), "/models/bert", True)
    assert {binding[0]["HostIp"] for binding in host["PortBindings"].values()} == {"127.0.0.1"}


def test_files_that_flags_name_are_copied(engine: FakeEngine, tmp_path: Path) -> None:
    """Only the model folder is mounted: a path of this machine means nothing in the container."""
    kinds = ("batching_parameters_file", "ssl_config_file", "model_config_file", "monitoring_config_file")
    paths = {kind: tmp_path / f"{kind}.txt" for kind in kinds}
    for kind, path in paths.items():
        path.write_text(kind)
    flags = ["--enable_batching=true", *(f"--{kind}={path}" for kind, path in paths.items())]
    fails(engine, Device("cpu"), tmp_path, "exit status 1", flags=flags)
    asked, *given = engine.created[0]["Cmd"]
    assert asked == "--enable_batching=true"
    found = {name.lstrip("-"): engine.files[path] for name, _, path in (flag.partition("=") for flag in given)}
    assert found == {kind: kind.encode() for kind in kinds}


def test_the_prometheus_page_is_switched_on(engine: FakeEngine, tmp_path: Path) -> None:
    fails(engine, Device("cpu"), tmp_path, "exit status 1")
    (flag,) = engine.created[0]["Cmd"]
    assert engine.files[flag.partition("=")[2]] == MONITORING.encode()


def test_a_file_that_cannot_be_copied_is_refused(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An absolute path that is not here may be one of a file in the user's own image."""
    there = tmp_path / "none.txt"
    flag = f"--batching_parameters_file={there}"
    fails(engine, Device("cpu"), tmp_path, "exit status 1", flags=[flag])
    assert engine.created.pop()["Cmd"][0] == flag
    for image, missing in (("own/serving:1", Path("none.txt")), ("", there), (None, there)):
        if image is None:
            monkeypatch.delenv("SERVING_IMAGE")
        else:
            monkeypatch.setenv("SERVING_IMAGE", image)
        says = f"--batching_parameters_file names {missing}, which cannot be copied into the .* that SERVING_IMAGE"
        with (
            pytest.raises(UsageError, match=says),
            docker(Device("cpu"), tmp_path, flags=[f"--batching_parameters_file={missing}"]),
        ):
            pass
    assert not engine.created


def test_beside_its_own_container_the_engine_knows_whether_there_is_a_gpu(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container with the Engine's socket there may be no driver; nor is a folder's path that of the machine."""
    monkeypatch.setattr("bench.server.container_engine.container_kind", lambda: "docker")
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(None))
    fails(engine, Device("gpu"), tmp_path, "exit status 1: E server.cc:1. no such device$")
    engine.start = GPU_REFUSAL
    fails(engine, Device("gpu"), tmp_path, "needs NVIDIA's container toolkit")
    engine.start = "bind source path does not exist: /model"
    fails(engine, Device("gpu"), tmp_path, "does not exist: .* runs in a container: the Engine needs the model folder")


def test_a_container_that_takes_no_files_is_removed(engine: FakeEngine, tmp_path: Path) -> None:
    engine.no_archive = "no space left on device"
    fails(engine, Device("cpu"), tmp_path, "docker:cpu with own/serving:1 failed: no space left on device")
    assert engine.removed == 1


def test_a_container_that_is_not_seen_after_its_creation_is_removed(engine: FakeEngine, tmp_path: Path) -> None:
    engine.absent = 1
    fails(engine, Device("cpu"), tmp_path, "docker:cpu with own/serving:1 failed: No such container")
    assert engine.removed == 1


def test_a_log_that_cannot_be_written_is_refused_at_once(engine: FakeEngine, tmp_path: Path) -> None:
    log = tmp_path / "none" / "server.log"
    with pytest.raises(FileNotFoundError, match="none"), docker(Device("cpu"), tmp_path, log=log):
        pass
    assert not engine.created


def test_a_cpu_needs_no_gpu(engine: FakeEngine, tmp_path: Path) -> None:
    fails(engine, Device("cpu"), tmp_path, "the docker server did not start: container exited, exit status 1")
    assert not engine.created[0]["HostConfig"]["DeviceRequests"]


@pytest.mark.parametrize(
    ("nvml", "start", "says"),
    [
        (None, "", "this machine has no driver .NVML Shared Library Not Found.; install it"),
        (0, "", "NVIDIA's driver finds none on this machine; use docker:cpu"),
        (1, GPU_REFUSAL, "needs NVIDIA's container toolkit, which the Docker Engine does not have"),
        (1, "port is already allocated", "docker:gpu with own/serving:1 failed: port is already allocated"),
    ],
)
def test_what_a_gpu_lacks_is_named(
    nvml: int | None, start: str, says: str, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(nvml))
    engine.start = start
    fails(engine, Device("gpu"), tmp_path, says)


def test_a_server_that_runs_out_of_memory_says_so(engine: FakeEngine, tmp_path: Path) -> None:
    engine.state |= {"OOMKilled": True, "ExitCode": 137}
    fails(engine, Device("cpu"), tmp_path, "container exited, its memory ran out")


def test_a_flag_that_the_server_goes_on_without_is_refused(engine: FakeEngine, tmp_path: Path) -> None:
    engine.state = {"Status": "running", "Pid": 1}
    engine.log = "unknown argument: --enable_batchin\nusage: tensorflow_model_server\n"
    fails(engine, Device("cpu"), tmp_path, "did not start: it does not know the flag --enable_batchin; correct it")


def test_the_whole_output_goes_to_the_log_file(engine: FakeEngine, tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    fails(engine, Device("cpu"), tmp_path, f"see {log}", log=log)
    assert log.read_text() == engine.log


def test_a_log_that_is_an_open_file_keeps_what_it_has(engine: FakeEngine, tmp_path: Path) -> None:
    """`--log /dev/stdout >>all.log` emptied all.log."""
    path = tmp_path / "all.log"
    with path.open("w") as file:
        print("before", file=file, flush=True)
        fails(engine, Device("cpu"), tmp_path, "exit status 1", log=Path(f"/dev/fd/{file.fileno()}"))
    assert path.read_text() == f"before\n{engine.log}"


PULLED = (
    {"status": "Pulling from own/serving"},
    {"status": "Downloading", "id": "a", "progressDetail": {"current": 25_000_000, "total": 100_000_000}},
    {"status": "Downloading", "id": "b", "progressDetail": {"current": 0, "total": 100_000_000}},
    {"status": "Download complete", "id": "a"},
)


def test_a_pull_shows_its_progress(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.server.container_engine._PROGRESS_SECONDS", 0.0)
    engine.images, engine.pulled = (), PULLED
    fails(engine, Device("cpu"), tmp_path, "exit status 1")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "bertbench: pulling own/serving:1: waiting for the registry"
    assert lines[-1] == "bertbench: pulling own/serving:1: 50 % of 200 MB"


def test_a_pull_that_fails_names_the_variable(engine: FakeEngine, tmp_path: Path) -> None:
    engine.images, engine.pulled = (), (*PULLED, {"error": "unauthorized: no token", "errorDetail": {}})
    fails(engine, Device("cpu"), tmp_path, "cannot be pulled .unauthorized: no token.; name another image with")
    assert not engine.created


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="docker:tpu is not known"):
        Device("tpu")


def test_the_image_is_the_variable_s_or_serving_s(monkeypatch: pytest.MonkeyPatch) -> None:
    for device, variable in IMAGE_VARIABLES.items():
        monkeypatch.delenv(variable, raising=False)
        assert Device(device).image == IMAGES[device]
        monkeypatch.setenv(variable, IMAGE)
        assert Device(device).image == IMAGE


def test_the_engine_says_whether_a_container_runs(engine: FakeEngine) -> None:
    """Its process may be in a virtual machine, or not visible from the container that bertbench runs in."""
    engine.state = {"Status": "running", "Pid": 1 << 30}
    server = RunningServer(None, None, "bert", "docker", container="f" * 64, container_pid=1 << 30)
    with watched(server) as ended:
        assert not ended()
        engine.state = {"Status": "paused", "Pid": 1 << 30}
        assert not ended()
        engine.state = {"Status": "exited", "Pid": 0}
        assert ended()
        engine.state, engine.absent = {"Status": "running", "Pid": 1}, 1
        assert ended()


def test_an_ended_process_is_over() -> None:
    with (
        subprocess.Popen(["sleep", "600"]) as child,
        watched(RunningServer(None, None, "bert", "binary", child.pid)) as ended,
    ):
        assert not ended()
        child.kill()
        assert wait_for(ended, 30)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http+docker://localhost", True),
        ("http+docker://localnpipe", True),
        ("http+docker://ssh", False),
        ("http://10.0.0.1:2375", False),
    ],
)
def test_an_engine_by_ssh_is_elsewhere(url: str, local: bool) -> None:
    assert is_local(SimpleNamespace(api=SimpleNamespace(base_url=url))) is local


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http+docker://localhost", ""),
        ("http://127.0.0.1:2375", ""),
        ("http://localhost:2375", ""),
        ("http://[::1]:2375", ""),
        ("http+docker://ssh", "the Docker Engine reached by ssh is on another machine"),
        ("https://engine.example:2376", "the Docker Engine at https://engine.example:2376 is on another machine"),
    ],
)
def test_an_engine_on_another_machine_is_refused(url: str, says: str) -> None:
    """Its containers' ports would be waited for in vain."""
    engine = SimpleNamespace(api=SimpleNamespace(base_url=url))
    refused = ""
    try:
        require_own_machine(engine)
    except TargetError as error:
        refused = str(error)
    assert (bool(refused), refused.startswith(says)) == (bool(says), True)


def test_an_engine_that_fails_is_one_line() -> None:
    for error, says in (
        (NotFound("No such container"), "the server's container was removed by someone else; run again"),
        (ConnectionError("Connection refused"), "the Docker Engine does not answer any more .it is not running.; run"),
    ):
        with pytest.raises(TargetError, match=says), answering():
            raise error
