"""CPU and memory of a container or service on this machine, from its control groups.

Version 2 has one tree (`cpu.stat`, `memory.current`, `memory.stat`), version 1 one for each controller
(`cpuacct.usage`, `memory.usage_in_bytes`, `memory.stat`): the kernel's admin-guide/cgroup-v2 and cgroup-v1.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from bench.core.errors import TargetError, UsageError, in_words

_TREES: Final = Path("/sys/fs/cgroup")
_PROCESSES: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class _Files:
    """The kernel's files of one control group.

    Args:
        cpu: CPU time so far.
        entry: its entry in that file; "" where the file has one number.
        unit: seconds of one.
        memory: folder of the files of memory.
        usage: name of the one with the bytes in use.
        cached: entry of `memory.stat` with the cached files that were not read lately.
    """

    cpu: Path
    entry: str
    unit: float
    memory: Path
    usage: str
    cached: str

    @classmethod
    def version_1(cls, accounting: Path, memory: Path) -> Self:
        return cls(accounting / "cpuacct.usage", "", 1e-9, memory, "memory.usage_in_bytes", "total_inactive_file")

    @classmethod
    def version_2(cls, group: Path) -> Self:
        return cls(group / "cpu.stat", "usage_usec", 1e-6, group, "memory.current", "inactive_file")

    def cpu_seconds(self) -> float:
        return (_stat(self.cpu, self.entry) if self.entry else int(_text(self.cpu))) * self.unit

    def memory_bytes(self) -> int:
        return max(int(_text(self.memory / self.usage)) - _stat(self.memory / "memory.stat", self.cached), 0)


class GroupUsage:
    """CPU and memory of all processes of one control group, between samples.

    Memory is what `docker stats` shows: the group's use, without cached files that were not read lately.
    """

    def __init__(self, files: _Files) -> None:
        self._files = files
        self._last = (time.perf_counter(), files.cpu_seconds())

    @classmethod
    def of_container(cls, pid: int, container: str, processes: Path = _PROCESSES, trees: Path = _TREES) -> Self:
        """That of a container.

        Args:
            pid: its first process, as this machine numbers it.
            container: its id.
            processes: the folder of the kernel's process files.
            trees: the folder of its control groups.

        Raises:
            TargetError: the container cannot be seen from here: its Engine runs in a virtual machine, this process in a
                container, or the control groups lack CPU or memory.
        """
        groups = _groups(processes / str(pid) / "cgroup")
        if not any(container in path for path in groups.values()):
            raise TargetError(f"process {pid} is not in a control group of container {container[:12]}")
        accounting, memory = _folder(groups, "cpuacct", trees), _folder(groups, "memory", trees)
        if accounting is not None and memory is not None:
            files = _Files.version_1(accounting, memory)
        else:
            files = _Files.version_2(trees / groups.get("", "").lstrip("/"))
        try:
            return cls._readable(files)
        except (OSError, ValueError) as error:
            raise TargetError(
                f"the control group of container {container[:12]} has no CPU and memory here ({in_words(error)})"
            ) from error

    @classmethod
    def at(cls, folder: Path) -> Self:
        """That in a folder: of version 2, or of version 1's CPU accounting, beside which is the one of memory.

        Raises:
            UsageError: the folder is not one of a control group, or its files cannot be read.
        """
        files = _Files.version_2(folder)
        if not files.cpu.is_file() and (part := _version_1_memory(folder)) is not None:
            files = _Files.version_1(folder, part)
        try:
            return cls._readable(files)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{folder} is not a control group with CPU and memory; give one like "
                "/sys/fs/cgroup/system.slice/NAME.service, or of version 1 /sys/fs/cgroup/cpuacct/docker/ID"
            ) from error

    @classmethod
    def _readable(cls, files: _Files) -> Self:
        files.memory_bytes()
        return cls(files)

    def look(self) -> tuple[float, int]:
        """Mean number of cores used since the last sample, and bytes in use.

        Raises:
            OSError: the group has ended.
        """
        now = (time.perf_counter(), self._files.cpu_seconds())
        elapsed = now[0] - self._last[0]
        cores = cores_used(now[1] - self._last[1], elapsed)
        self._last = now
        return cores, self._files.memory_bytes()


def _version_1_memory(accounting: Path) -> Path | None:
    """The folder of the same group in the tree of memory; None if `accounting` is in no tree of CPU accounting."""
    absolute = accounting.absolute()
    for tree in (absolute, *absolute.parents):
        if "cpuacct" in tree.name.split(","):
            return tree.parent / "memory" / absolute.relative_to(tree)
    return None


def cores_used(seconds: float, elapsed: float) -> float:
    """Mean number of cores that `seconds` of CPU in `elapsed` seconds are.

    Two sums of the kernel's counters without growth between them can differ by a negative rounding error.
    """
    return max(seconds / elapsed, 0.0) if elapsed > 0 else 0.0


def _groups(path: Path) -> dict[str, str]:
    """A process's control groups by controller; "" is that of version 2.

    Raises:
        TargetError: the process has ended, or is not visible here.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise TargetError(f"the container's process has ended, or is not visible here: {path} not found") from error
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
