"""CPU and memory of a container on this machine, from its control groups.

Version 2 has one tree (`cpu.stat`, `memory.current`, `memory.stat`), version 1 one for each controller
(`cpuacct.usage`, `memory.usage_in_bytes`, `memory.stat`): the kernel's admin-guide/cgroup-v2 and cgroup-v1.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.core.errors import TargetError

_TREES: Final = Path("/sys/fs/cgroup")
_PROCESSES: Final = Path("/proc")


class ContainerUsage:
    """CPU and memory of all processes of one container, between samples.

    Memory is what `docker stats` shows: the container's use, without cached files that were not read lately.

    Args:
        pid: its first process, as this machine numbers it.
        container: its id.
        processes: the folder of the kernel's process files.
        trees: the folder of its control groups.

    Raises:
        TargetError: the process is not in a control group of the container.
    """

    def __init__(self, pid: int, container: str, processes: Path = _PROCESSES, trees: Path = _TREES) -> None:
        groups = _groups(processes / str(pid) / "cgroup")
        if not any(container in path for path in groups.values()):
            raise TargetError(f"process {pid} is not in a control group of container {container[:12]}")
        accounting, memory = _folder(groups, "cpuacct", trees), _folder(groups, "memory", trees)
        if accounting is not None and memory is not None:
            self._cpu_seconds: Callable[[], float] = lambda: int(_text(accounting / "cpuacct.usage")) * 1e-9
            self._memory = memory / "memory.usage_in_bytes", memory / "memory.stat", "total_inactive_file"
        else:
            group = trees / groups.get("", "").lstrip("/")
            self._cpu_seconds = lambda: _stat(group / "cpu.stat", "usage_usec") * 1e-6
            self._memory = group / "memory.current", group / "memory.stat", "inactive_file"
        self._last = (time.perf_counter(), self._cpu_seconds())

    def look(self) -> tuple[float, int]:
        """Mean number of cores used since the last sample, and bytes in use.

        Raises:
            OSError: the container has ended.
        """
        now = (time.perf_counter(), self._cpu_seconds())
        elapsed = now[0] - self._last[0]
        cores = cores_used(now[1] - self._last[1], elapsed)
        self._last = now
        usage, stat, cached = self._memory
        return cores, max(int(_text(usage)) - _stat(stat, cached), 0)


def cores_used(seconds: float, elapsed: float) -> float:
    """Mean number of cores that `seconds` of CPU in `elapsed` seconds are.

    Two sums of the kernel's counters without growth between them can differ by a negative rounding error.
    """
    return max(seconds / elapsed, 0.0) if elapsed > 0 else 0.0


def _groups(path: Path) -> dict[str, str]:
    """A process's control groups by controller; "" is that of version 2.

    Raises:
        TargetError: the process has ended.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise TargetError(f"the container's process has ended: there is no {path}") from error
    found = {}
    for line in lines:
        _, controllers, group = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), group))
    return found


def _folder(groups: dict[str, str], controller: str, trees: Path) -> Path | None:
    """The folder of a controller of version 1; None without one."""
    group = groups.get(controller)
    return None if group is None else trees / controller / group.lstrip("/")


def _stat(path: Path, name: str) -> int:
    """A number of a file of names and numbers; 0 if it is missing."""
    values = (line.split() for line in _text(path).splitlines())
    return next((int(value) for key, value in values if key == name), 0)


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii")
