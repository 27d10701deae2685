"""Samples of a GPU through NVIDIA's management library (NVML)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final


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


class Gpu:
    """The first GPU through NVML."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    @classmethod
    def find(cls) -> "Gpu | None":
        """The GPU; None without a driver or a device."""
        import pynvml

        try:
            pynvml.nvmlInit()
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByIndex(0))
        except pynvml.NVMLError:
            return None

    @property
    def name(self) -> str:
        name = self._nvml.nvmlDeviceGetName(self._handle)
        return name.decode() if isinstance(name, bytes) else str(name)

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
