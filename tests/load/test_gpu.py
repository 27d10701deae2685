"""Which GPU's figures are a server's: those that it computes on, on this machine."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.load.monitor.gpu import Gpu, gpu_names
from bench.load.monitor.sampling import ServerSampler
from bench.server.running import RunningServer

HERE = "http://127.0.0.1:1"
FAST, SLOW = "H200", "T400"


class Nvml:
    """NVIDIA's library on a machine with several GPUs.

    Args:
        processes: numbers of the processes that compute on each; None if the driver does not say.
    """

    class NVMLError(Exception):
        """Its only error."""

    def __init__(self, **processes: list[int] | None) -> None:
        self.processes = processes

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.processes:
            raise self.NVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.processes)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return list(self.processes)[index]

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return handle

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:  # noqa: N802
        if (found := self.processes[handle]) is None:
            raise self.NVMLError("Not Supported")
        return [SimpleNamespace(pid=pid) for pid in found]


@pytest.fixture(autouse=True)
def _no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the tests run in one."""
    monkeypatch.setattr("bench.load.monitor.gpu.container_kind", lambda: None)


def name_of_gpu(server: RunningServer, monkeypatch: pytest.MonkeyPatch, **processes: list[int] | None) -> str | None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(**processes))
    gpu = Gpu.of(server)
    return gpu.name if gpu else None


def test_a_server_elsewhere_and_one_on_cpu_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load generator's GPU is not theirs, even where a process of the same number computes on it."""
    remote = RunningServer(HERE, None, "bert", "remote", os.getpid())
    cpu = RunningServer(HERE, None, "bert", "docker", container="c0ffee", container_pid=os.getpid())
    for server in (remote, cpu):
        assert name_of_gpu(server, monkeypatch, T400=[os.getpid()]) is None


def test_a_process_has_the_gpu_that_it_computes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server = RunningServer(HERE, None, "bert", "binary", os.getpid(), gpus=True)
    assert name_of_gpu(server, monkeypatch, T400=[1], H200=[1, os.getpid()]) == FAST
    assert name_of_gpu(server, monkeypatch, T400=[1], H200=[]) is None
    assert name_of_gpu(server, monkeypatch) is None
    # Where the driver does not list processes, it may be any.
    assert name_of_gpu(server, monkeypatch, T400=None, H200=None) == SLOW


def test_a_script_s_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        server = RunningServer(HERE, None, "bert", "binary", os.getpid(), gpus=True)
        assert name_of_gpu(server, monkeypatch, T400=[], H200=[child.pid]) == FAST
        child.kill()


def test_a_container_that_was_given_gpus_has_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    server = RunningServer(HERE, None, "bert", "docker", container="c0ffee", container_pid=1 << 30, gpus=True)
    assert name_of_gpu(server, monkeypatch, T400=[], H200=[]) == SLOW
    assert name_of_gpu(server, monkeypatch, T400=[], H200=[1 << 30]) == FAST


def test_a_control_group_s_processes_are_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "child").mkdir()
    (tmp_path / "cgroup.procs").write_text("")
    (tmp_path / "child/cgroup.procs").write_text("41\n42\n")
    server = RunningServer(HERE, None, "bert", "remote", control_group=tmp_path)
    assert name_of_gpu(server, monkeypatch, T400=[41]) == SLOW
    assert name_of_gpu(server, monkeypatch, T400=[43]) is None


def test_a_run_says_which_of_several_was_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    server = RunningServer(None, None, "bert", "binary", os.getpid(), gpus=True)
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(T400=[os.getpid()], H200=[os.getpid()]))
    assert gpu_names() == (SLOW, FAST)
    (note,) = [line for line in ServerSampler(server, Gpu.of(server)).missing if "GPU" in line]
    assert "those of T400, the first of 2 of the server on the PCI bus" in note
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(T400=[os.getpid()], H200=[]))
    assert not any("GPU" in line for line in ServerSampler(server, Gpu.of(server)).missing)


def test_in_a_container_only_what_the_driver_shows_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It had the first GPU there, which may be no GPU of the server's."""
    monkeypatch.setattr("bench.load.monitor.gpu.container_kind", lambda: "docker")
    container = RunningServer(None, None, "bert", "docker", container="c0ffee", container_pid=1 << 30, gpus=True)
    binary = RunningServer(None, None, "bert", "binary", os.getpid(), gpus=True)
    note = "bertbench runs in a container, whose driver does not show which GPU the server uses: no GPU figures"
    for server, processes in ((container, []), (binary, None), (binary, [1])):
        assert name_of_gpu(server, monkeypatch, T400=processes) is None
        assert note in ServerSampler(server, Gpu.of(server)).missing
    assert name_of_gpu(binary, monkeypatch, T400=[], H200=[os.getpid()]) == FAST
    assert name_of_gpu(binary, monkeypatch) is None
    assert note not in ServerSampler(binary, Gpu.of(binary)).missing
