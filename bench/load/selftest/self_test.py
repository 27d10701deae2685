"""The self-test of the load generator on this machine: stored by `bertbench calibrate`, read by every run.

Format history of `calibration.json`:
    1: first.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.core.cache import read_measured, replaced_measured, write_measured
from bench.core.cores import allowed_cores
from bench.core.versioned_json import VersionedJson
from bench.workload.workload import TRANSPORTS

FILE_NAME: Final = "calibration.json"


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What one client reaches against a null server.

    Args:
        ceiling: requests/s of one process that records and checks all of them, in closed loop.
        floor: median latency of a single user, seconds.
        users: number of users of the ceiling.
        measured: time of the measurement, UTC.
    """

    ceiling: float
    floor: float
    users: int
    measured: str

    def __post_init__(self) -> None:
        if not (0 < self.ceiling < math.inf and 0 <= self.floor < math.inf and self.users >= 1):
            raise ValueError(f"ceiling {self.ceiling}, floor {self.floor} and users {self.users} are out of range")


def client_name(protocol: str, client: str) -> str:
    """The name of a protocol's client: `rest-fast`, `rest-requests`, `grpc-fast`, `grpc-grpcio`."""
    return f"{protocol}-{client}"


WAYS: Final = {
    client_name(protocol, client): (protocol, client)
    for protocol in ("rest", "grpc")
    for client in TRANSPORTS[protocol]
}
"""The ways to send that `bertbench calibrate` measures: protocol, which is a scenario's name too, and client."""


def stored_ceiling(clients: Mapping[str, str]) -> float | None:
    """Requests/s of one process; None without a self-test of each client on this machine.

    For both protocols, which alternate, it is the harmonic mean of the two.

    Args:
        clients: the client of each protocol, as `Workload.clients` has them.
    """
    stored = read_self_tests()
    names = [client_name(*entry) for entry in clients.items()]
    if any(name not in stored for name in names):
        return None
    return len(names) / sum(1 / stored[name].ceiling for name in names)


def read_self_tests() -> dict[str, SelfTest]:
    """The stored self-tests by client name; {} if there are none, or they are of another number of cores.

    Raises:
        UsageError: the file cannot be read.
    """
    found = read_measured(_FILE, FILE_NAME)
    return {} if found is None else dict(found.ways)


def store_self_tests(found: Mapping[str, SelfTest]) -> Path:
    """Adds to the stored self-tests; returns the file."""
    known = replaced_measured(_FILE, FILE_NAME)
    ways = {**(known.ways if known is not None else {}), **found}
    return write_measured(_FILE, FILE_NAME, _Stored(len(allowed_cores()), ways))


@dataclass(frozen=True, slots=True)
class _Stored:
    """The file: logical cores that could be used, and self-tests by client name."""

    cores: int | None
    ways: Mapping[str, SelfTest]


_FILE: Final = VersionedJson(_Stored, 1, name="calibration", cure="run bertbench calibrate again")
