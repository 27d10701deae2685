"""The machine and the software of a run, as far as they affect its metrics.

What psutil lacks is read from the files of Linux.
"""

import functools
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

from bench.core.cores import allowed_cores
from bench.core.differences import differences as field_differences
from bench.core.operating_system import container_kind

PACKAGES: Final = (
    "bertbench",
    "gevent",
    "geventhttpclient",
    "grpcio",
    "locust",
    "numpy",
    "orjson",
    "protobuf",
    "requests",
    "tensorflow",
    "tensorflow-serving-api",
    "tokenizers",
)
"""Packages whose version may affect metrics."""

_TREES: Final = Path("/sys/fs/cgroup")
_OWN_GROUPS: Final = Path("/proc/self/cgroup")

MORE_GPUS: Final = "…"
"""Perhaps more GPUs: up to version 0.2 runs had the name of the first."""

# These change between runs on one machine, or are the subject of a comparison.
_NOT_COMPARED: Final = frozenset({"host", "boot_id", "load_average", "git_commit", "git_dirty"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The environment of a run. None is unknown, for example outside Linux.

    Args:
        host: the machine's name.
        boot_id: the kernel's random id of this boot; all containers of a machine share it.
        cpu_model: name of the processor.
        cores: logical cores of the machine.
        cores_allowed: logical cores that this process may run on.
        cpu_limit: cores that the control groups grant; None is no limit.
        memory: bytes of the machine.
        memory_limit: bytes that the control groups grant; None is no limit.
        governor: frequency governor of the first core.
        container: `docker`, `podman`, `kubernetes`, or None.
        system: operating system and distribution.
        kernel: its release.
        python: version.
        packages: version by name, of `PACKAGES` that are installed.
        gpus: names of the GPUs, in order; `MORE_GPUS` at the end stands for those that are not known.
        load_average: of the last minute, at the start of the run.
        git_commit: commit of this project's checkout.
        git_dirty: whether the checkout had changes.
    """

    host: str
    boot_id: str | None
    cpu_model: str | None
    cores: int
    cores_allowed: int
    cpu_limit: float | None
    memory: int | None
    memory_limit: int | None
    governor: str | None
    container: str | None
    system: str
    kernel: str
    python: str
    packages: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    load_average: float | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None

    @property
    def usable_cores(self) -> float:
        """Cores that this process and its children can use together."""
        return self.cores_allowed if self.cpu_limit is None else min(self.cores_allowed, self.cpu_limit)


def differences(a: Environment, b: Environment) -> dict[str, tuple[Any, Any]]:
    """Differences that may affect metrics, by name, with both values; {} means that two runs are comparable.

    Two runs are from one machine if the host's name or the boot id is the same: a container's name changes with each
    start, the boot id with each restart. The load average, which always changes, and the commit, the usual subject of a
    comparison, are left out.
    """
    found = field_differences(a, b, leave_out=_NOT_COMPARED)
    if _may_be_equal(a.gpus, b.gpus):
        found.pop("gpus", None)
    if a.host != b.host and (a.boot_id is None or a.boot_id != b.boot_id):
        found["host"] = (a.host, b.host)
    return found


def _may_be_equal(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    """Whether names of GPUs are the same as far as both are known."""
    known = [names[:-1] if names[-1:] == (MORE_GPUS,) else names for names in (a, b)]
    size = min((len(found) for found, names in zip(known, (a, b), strict=True) if found != names), default=None)
    return known[0][:size] == known[1][:size]


def this_environment(gpus: tuple[str, ...] = ()) -> Environment:
    """The environment of this process, read now. `gpus` are names from the caller: no driver is loaded here."""
    memory_limit = _memory_limit()
    memory = psutil.virtual_memory().total
    commit, dirty = _git_state()
    return Environment(
        host=platform.node(),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        cpu_model=_cpu_model(),
        cores=os.cpu_count() or 1,
        cores_allowed=len(allowed_cores()),
        cpu_limit=_cpu_limit(),
        memory=memory,
        # Version 1 control groups write "no limit" as a number close to 2**63.
        memory_limit=memory_limit if memory_limit is not None and memory_limit < memory else None,
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        container=container_kind(),
        system=_system(),
        kernel=platform.release(),
        python=platform.python_version(),
        packages=_package_versions(),
        gpus=gpus,
        load_average=_load_average(),
        git_commit=commit,
        git_dirty=dirty,
    )


def _read(path: str | Path) -> str | None:
    """The stripped text of a kernel's file, None if it is missing or not readable."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _cpu_model() -> str | None:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "cpu model"):
            return value.strip()
    return platform.processor() or None


def _groups(controller: str) -> list[Path]:
    """The folders of this process's control groups, from its own to the root, whose limits all hold.

    Version 2 has one tree, version 1 one for each controller: the kernel's admin-guide/cgroup-v2 and cgroup-v1. In a
    container the tree may begin at a group that the process knows by another path, whose folders are missing then.
    """
    unified = (_TREES / "cgroup.controllers").exists()
    top = _TREES if unified else _TREES / controller
    for line in (_read(_OWN_GROUPS) or "").splitlines():
        names, _, path = line.partition(":")[2].partition(":")
        if names == "" if unified else controller in names.split(","):
            own = top / path.lstrip("/")
            return [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    return [top]


def _memory_limit() -> int | None:
    """The least limit of this process's control groups; None where none has one."""
    names = ("memory.max", "memory.limit_in_bytes")
    found = [_read(folder / name) for folder in _groups("memory") for name in names]
    return min((int(text) for text in found if text is not None and text.isdigit()), default=None)


def _cpu_limit() -> float | None:
    """The least limit of this process's control groups, cores; None where none has one."""
    return min((limit for folder in _groups("cpu") if (limit := _cpu_limit_in(folder)) is not None), default=None)


def _cpu_limit_in(folder: Path) -> float | None:
    text = _read(folder / "cpu.max")
    if text is None:
        quota, period = (_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    else:
        quota, _, period = text.partition(" ")
    if not quota or not period or not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return round(int(quota) / int(period), 3)


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _load_average() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def _git_state() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package lies in, and whether it has changes; None twice outside a checkout."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return None, None
    command = ["git", "-C", str(here), "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None, None
    lines = done.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), None)
    return commit, any(not line.startswith(("#", "?")) for line in lines)
