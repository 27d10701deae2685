import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import gevent
import pytest

from bench.load.monitor.gpu import Gpu, GpuSample
from bench.load.monitor.sampling import ClientSampler, LoopLag, ServerSampler, UserCount
from bench.results.samples import SampleFile, read_samples
from bench.server.running import RunningServer
from tests.support.programmed_servers import rest_server

PAGE = b':tensorflow:serving:request_count{model_name="bert",status="OK"} 5\n'


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_the_client_s_own_figures() -> None:
    sampler = ClientSampler(3)
    gevent.sleep(0.02)
    burn(0.1)
    sample = sampler.sample(1.5, in_flight=2, waiting=7, users=2.5)
    sampler.close()
    assert (sample.time, sample.worker, sample.in_flight, sample.waiting, sample.users) == (1.5, 3, 2, 7, 2.5)
    # On a busy machine the tenth of a second of CPU takes any time.
    assert 0 < sample.cpu <= 1.6
    assert sample.rss > 10e6
    assert sample.machine_cpu > 0


def test_a_sample_of_a_moment_before_the_run_is_one_of_its_begin(tmp_path: Path) -> None:
    """A timer that was early made the whole run unreadable."""
    client, server = ClientSampler(0), ServerSampler(RunningServer(None, None, "bert", "remote"), None)
    samples = (client.sample(-0.004, in_flight=0, waiting=0, users=None), server.sample(-0.004))
    client.close()
    server.close()
    for sample in samples:
        kind: Any = type(sample)
        file = SampleFile(tmp_path / kind.__name__, kind)
        file.append(sample)
        file.close()
        assert read_samples(tmp_path / kind.__name__, kind)["time"].tolist() == [0.0]


class CpuTimes(NamedTuple):
    user: float = 671.82
    nice: float = 4237.17
    system: float = 3818.87
    idle: float = 1275.35
    iowait: float = 2477.18
    irq: float = 2247.46
    softirq: float = 3257.96
    steal: float = 3943.62


def test_an_idle_machine_uses_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 ms of idle time and nothing else, whose sums of counters differ by a negative rounding error."""
    looks = [CpuTimes(), CpuTimes(idle=1275.36)]
    before, after = (sum(look) - (look.idle + look.iowait) for look in looks)
    assert after < before
    monkeypatch.setattr("psutil.cpu_times", lambda: looks.pop(0))
    sampler = ClientSampler(0)
    sample = sampler.sample(0.1, in_flight=0, waiting=0, users=None)
    sampler.close()
    assert sample.machine_cpu == 0


def no_more_files(*_: object) -> NoReturn:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/proc/1/stat")


def test_out_of_open_files_the_rest_is_sampled_and_the_next_sample_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as out_of_files:
        out_of_files.setattr("psutil.cpu_times", no_more_files)
        out_of_files.setattr("psutil.Process.cpu_times", no_more_files)
        sampler = ClientSampler(0)
        sample = sampler.sample(1.0, in_flight=2, waiting=3, users=4.0)
    assert (sample.in_flight, sample.waiting, sample.users) == (2, 3, 4.0)
    assert sample.cpu is sample.rss is sample.machine_cpu is None
    sampler.sample(2.0, in_flight=0, waiting=0, users=None)
    sample = sampler.sample(3.0, in_flight=0, waiting=0, users=None)
    sampler.close()
    assert sample.rss > 10e6
    assert sample.cpu is not None
    assert sample.machine_cpu is not None


def test_out_of_open_files_the_server_has_not_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = ServerSampler(RunningServer(None, None, "bert", "remote", os.getpid()), None)
    with monkeypatch.context() as out_of_files:
        out_of_files.setattr("psutil.Process.cpu_times", no_more_files)
        assert sampler.sample(1.0).rss is None
    assert sampler.sample(2.0).rss is not None
    assert not any("ended" in line for line in sampler.missing)


def test_a_blocked_loop_shows() -> None:
    lag = LoopLag()
    gevent.sleep(0.02)
    lag.take()
    burn(0.2)
    gevent.sleep(0.1)
    assert lag.take() > 0.1
    lag.close()


def test_the_server_s_page_and_process() -> None:
    with rest_server(lambda method, path, body, handler: (200, PAGE) if "prometheus" in path else (404, b"")) as url:
        sampler = ServerSampler(RunningServer(url, None, "bert", "remote", os.getpid()), None)
        assert sampler.missing == ()
        sample = sampler.sample(2.0)
        sampler.close()
    assert sample.requests_ok == 5.0
    assert sample.rest_count is None
    assert sample.rss > 10e6
    assert sample.gpu is None


def test_the_server_s_control_group(tmp_path: Path) -> None:
    for name, text in (("cpu.stat", "usage_usec 5"), ("memory.current", "70"), ("memory.stat", "inactive_file 30")):
        (tmp_path / name).write_text(text)
    server = RunningServer(None, None, "bert", "remote", control_group=tmp_path)
    sampler = ServerSampler(server, None)
    sample = sampler.sample(1.0)
    assert (sample.cpu, sample.rss) == (0.0, 40)
    (tmp_path / "cpu.stat").unlink()
    assert sampler.sample(2.0).rss is None
    assert "the server's process ended 2 s into the run; no CPU and memory after that" in sampler.missing


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (RunningServer(None, None, "bert", "docker", container="c0ffee", container_pid=1 << 30), "not visible here"),
        (RunningServer(None, None, "bert", "docker", container="c0ffee"), "the container's Engine runs on another"),
        (RunningServer(None, None, "bert", "binary", pid=1 << 30), "PID not found"),
    ],
    ids=["an Engine in a virtual machine", "an Engine elsewhere", "a process that has just ended"],
)
def test_a_server_that_cannot_be_seen_only_lacks_its_samples(server: RunningServer, why: str) -> None:
    sampler = ServerSampler(server, None)
    assert sampler.sample(1.0).cpu is None
    (note,) = [line for line in sampler.missing if "no server CPU and memory" in line]
    assert why in note


def test_what_cannot_be_sampled_is_named_and_none() -> None:
    with rest_server(lambda *_: (404, b"")) as url:
        sampler = ServerSampler(RunningServer(url, None, "bert", "remote"), None)
        assert len(sampler.missing) == 2
        assert "--monitoring_config_file" in sampler.missing[0]
        sample = sampler.sample(1.0)
        sampler.close()
    assert all(getattr(sample, name) is None for name in sample.__slots__ if name != "time")
    assert "unknown" in ServerSampler(RunningServer(None, None, "bert", "remote"), None).missing[0]


def test_a_server_that_is_gone_gives_no_figures() -> None:
    sampler = ServerSampler(RunningServer(None, None, "bert", "remote", os.getpid()), None)
    usage: Any = sampler._usage
    usage._process._pid = 2**22 + 1
    usage._process._proc.pid = 2**22 + 1
    usage._process._proc._procfs_path = "/nowhere"
    assert sampler.sample(1.0).rss is None
    assert sampler.sample(2.0).cpu is None


class FakeNvml:
    """A driver with one device, and one that fails later."""

    class NVMLError(Exception):
        """What the driver raises."""

    def __init__(self) -> None:
        self.broken = self.old = False

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: N802
        if self.broken:
            raise self.NVMLError
        return type("Memory", (), {"used": 5 << 30})

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:  # noqa: N802
        return type("Rates", (), {"gpu": 42})

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:  # noqa: N802
        return 275_500

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:  # noqa: N802
        if self.old:
            raise self.NVMLError
        return 1_234_000

    def nvmlDeviceGetName(self, handle: Any) -> bytes:  # noqa: N802
        return b"Device"


def test_the_gpu() -> None:
    nvml = FakeNvml()
    gpu = Gpu(nvml, object())
    assert gpu.name == "Device"
    sample = ServerSampler(RunningServer(None, None, "bert", "remote"), gpu).sample(1.0)
    assert (sample.gpu, sample.gpu_memory) == (0.42, 5 << 30)
    assert (sample.gpu_power, sample.gpu_energy) == (275.5, 1234.0)
    # What a device does not report leaves the rest.
    nvml.old = True
    assert gpu.look() == GpuSample(0.42, 5 << 30, 275.5, None)
    nvml.broken = True
    assert gpu.look().memory is None


def test_a_page_that_answers_later_is_not_called_missing() -> None:
    """A busy server leaves the first look unanswered; figures from the page need no note of its absence."""
    answers = iter([(503, b"")] + [(200, PAGE)] * 20)
    with rest_server(lambda *_: next(answers)) as url:
        sampler = ServerSampler(RunningServer(url, None, "bert", "remote", os.getpid()), None)
        assert len(sampler.missing) == 1
        for second in range(20):
            assert sampler.sample(float(second)).requests_ok == 5.0
        assert sampler.missing == ()  # type: ignore[comparison-overlap]
        sampler.close()  # type: ignore[unreachable]


def test_a_page_that_answers_sometimes_has_a_note() -> None:
    answers = iter([(200, PAGE), (503, b""), (503, b""), (200, PAGE)])
    with rest_server(lambda *_: next(answers)) as url:
        sampler = ServerSampler(RunningServer(url, None, "bert", "remote", os.getpid()), None)
        for second in range(3):
            sampler.sample(float(second))
        (note,) = sampler.missing
        sampler.close()
    assert "answered 2 of 4 requests" in note


def test_a_page_that_never_answers_is_not_called_absent() -> None:
    with rest_server(lambda *_: (503, b"")) as url:
        sampler = ServerSampler(RunningServer(url, None, "bert", "remote", os.getpid()), None)
        (note,) = sampler.missing
        sampler.close()
    assert "never answered" in note
    assert "--monitoring_config_file" not in note


def test_a_server_s_process_that_ends_keeps_its_figures_until_then() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        sampler = ServerSampler(RunningServer(None, None, "bert", "remote", child.pid), None)
        assert sampler.sample(1.0).rss
    assert sampler.sample(2.0).rss is None
    assert any("process ended 2 s into the run" in note for note in sampler.missing)
    assert not any("process is unknown" in note for note in sampler.missing)


def test_users_are_counted_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 12.0, 13.0, 14.0, 14.0, 15.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    users = UserCount()
    users.begin(11.0)
    users.change(4)  # at 10, before the clock starts
    users.change(12)  # at 12
    assert users.take() == pytest.approx((4 * 1 + 16 * 1) / 2)  # at 13
    users.change(-15)  # at 14
    assert users.take() == 16.0  # at 14
    assert users.take() == 1.0  # at 15
    assert users.now == 1
