"""Limits of a container, as they follow the device of a Docker target: `docker:cpu,cpus=1.5,memory=2GB,cpuset=0-3`."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from bench.core.errors import UsageError, did_you_mean
from bench.core.types import checked_fields
from bench.core.units import parse_bytes, parse_number

# Cores and ranges of cores, as in cpuset(7).
_CORES: Final = re.compile(r"\d{1,4}(-\d{1,4})?(,\d{1,4}(-\d{1,4})?)*")
_UNITS: Final = (("GiB", 1 << 30), ("GB", 10**9), ("MiB", 1 << 20), ("MB", 10**6), ("kB", 1000))
LEAST_MEMORY: Final = 6 << 20
"""Bytes; the Engine refuses fewer."""


@dataclass(frozen=True, slots=True)
@checked_fields
class ContainerLimits:
    """What a container may use.

    Args:
        cpus: cores; None is no limit.
        memory: bytes, without swap; None is no limit.
        cpuset: the cores it may run on, like `0-3,6`; "" is all.

    Raises:
        UsageError: a value is out of range.
    """

    cpus: float | None = None
    memory: int | None = None
    cpuset: str = ""

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise UsageError(f"memory={self.memory} bytes is too little for a container; give 6MiB or more, like 2GB")
        if self.cpuset and not _CORES.fullmatch(self.cpuset):
            raise UsageError(f"cpuset={self.cpuset} is not a list of cores; write it like 0-3,6")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The limits in `cpus=1.5,memory=2GB,cpuset=0-3,6`; the cores of `cpuset` may have commas.

        Raises:
            UsageError: an unknown name, or a value that cannot be read.
        """
        values: dict[str, Any] = {}
        for part in re.split(r",(?=\D)", text):
            name, equals, value = part.strip().partition("=")
            if name not in _READERS or not equals or not value:
                known = ", ".join(_READERS)
                hint = did_you_mean(name, _READERS)
                raise UsageError(f"{part!r} is not a limit of a container, known are {known}{hint}")
            if name in values:
                raise UsageError(f"{name} is given twice in {text!r}; give it once")
            values[name] = _READERS[name](value)
        return cls(**values)

    @property
    def core_count(self) -> int | None:
        """How many cores `cpuset` names; None if it names none."""
        ranges = [part.partition("-") for part in self.cpuset.split(",") if part]
        named = {core for first, _, last in ranges for core in range(int(first), int(last or first) + 1)}
        return len(named) or None

    def __str__(self) -> str:
        cpus = "" if self.cpus is None else f"{self.cpus:g}"
        texts = {"cpus": cpus, "memory": _size(self.memory or 0), "cpuset": self.cpuset}
        return ",".join(f"{name}={text}" for name, text in texts.items() if text)


def _size(count: int) -> str:
    """Bytes in the largest unit that has them in whole numbers; "" for none."""
    exact = next((unit for unit in _UNITS if count % unit[1] == 0), None)
    if not count:
        return ""
    return f"{count // exact[1]}{exact[0]}" if exact else f"{count / 1000}kB"


def _named(name: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The parser, whose errors name the limit."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from error

    return read


def parse_cpus(text: str) -> float:
    """A number of cores.

    Raises:
        UsageError: not a number, or out of range.
    """
    return parse_number(text, 0.01, 4096)


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "cpus": _named("cpus", parse_cpus),
    "memory": _named("memory", parse_bytes),
    "cpuset": str,
}

NO_LIMITS: Final = ContainerLimits()
