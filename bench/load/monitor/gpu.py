"""Samples of a GPU through NVIDIA's management library (NVML)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import psutil

from bench.core.operating_system import container_kind
from bench.server.running import RunningServer


@dataclass(frozen=True, slots=True)
class GpuSample:
    """A GPU at one time; None is what the device does not report.

    Args:
        utilization: share of the time since the last sample in which it computed, 0 to 1.
        memory: bytes in use.
        power: watts drawn.
        energy: joules since the driver was loaded, counter; of Volta and later.
    """

    utilization: float | None = None
    memory: float | None = None
    power: float | None = None
    energy: float | None = None


NO_GPU: Final = GpuSample()


def gpu_names() -> tuple[str, ...]:
    """The names of this machine's GPUs in the order of the PCI bus; () without NVIDIA's driver."""
    nvml, handles = _gpus()
    try:
        return tuple(_name(nvml, handle) for handle in handles)
    except nvml.NVMLError:
        return ()


class Gpu:
    """A GPU through NVML.

    Args:
        nvml: the library.
        handle: its handle of the GPU.
        others: how many more GPUs the server has.
    """

    def __init__(self, nvml: Any, handle: Any, others: int = 0) -> None:
        self._nvml = nvml
        self._handle = handle
        self.others = others

    @classmethod
    def of(cls, server: RunningServer) -> "Gpu | None":
        """The GPU that a server computes on; None if it has none, or is not on this machine.

        NVML counts GPUs by the PCI bus, CUDA by speed, and the environment may hide some: the driver's list of
        processes tells which are the server's. Of several it is the first. In a container, where the driver may number
        processes as the machine does and show some GPUs only, nothing else is taken for a sign; see `gpu_unknown`.
        """
        if not server.gpus and server.control_group is None:
            return None
        nvml, handles = _gpus()
        own = _processes(server)
        contained = container_kind() is not None
        used = [handle for handle in handles if _computes(nvml, handle, own, unknown=not contained)]
        if not used and server.container is not None and not contained:
            # It was given all of them, and its processes may have other numbers here.
            used = handles
        return cls(nvml, used[0], len(used) - 1) if used else None

    @property
    def name(self) -> str:
        return _name(self._nvml, self._handle)

    def look(self) -> GpuSample:
        """A sample; some calls of NVML take milliseconds."""
        nvml = self._nvml
        return GpuSample(
            utilization=self._read(lambda gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100),
            memory=self._read(lambda gpu: float(nvml.nvmlDeviceGetMemoryInfo(gpu).used)),
            power=self._read(lambda gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000),
            energy=self._read(lambda gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000),
        )

    def _read(self, read: Callable[[Any], float]) -> float | None:
        try:
            return read(self._handle)
        except self._nvml.NVMLError:
            return None


def _gpus() -> tuple[Any, list[Any]]:
    """NVML and its handles of this machine's GPUs; none without a driver or a device."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return pynvml, [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return pynvml, []


def _name(nvml: Any, handle: Any) -> str:
    name = nvml.nvmlDeviceGetName(handle)
    return name.decode() if isinstance(name, bytes) else str(name)


def gpu_unknown(server: RunningServer) -> bool:
    """Whether a server without a `Gpu` may compute on one all the same: this process is in a container with a GPU."""
    return server.gpus and container_kind() is not None and bool(gpu_names())


def _computes(nvml: Any, handle: Any, processes: set[int], unknown: bool) -> bool:
    """Whether one of the processes computes on a GPU; `unknown` where the driver does not say."""
    try:
        return any(found.pid in processes for found in nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except nvml.NVMLError:
        return unknown


def _processes(server: RunningServer) -> set[int]:
    """A server's processes: a script may have started it, and a container or service may have several."""
    if server.control_group is not None:
        try:
            files = server.control_group.rglob("cgroup.procs")
            return {int(line) for file in files for line in file.read_text().split()}
        except (OSError, ValueError):
            return set()
    first = server.pid if server.container is None else server.container_pid
    if first is None:
        return set()
    try:
        return {first, *(child.pid for child in psutil.Process(first).children(recursive=True))}
    except psutil.Error:
        return {first}
