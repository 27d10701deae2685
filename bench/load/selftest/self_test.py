"""What the load generator itself can do on this machine: stored by `bertbench calibrate`, read by every run.

Format history of `calibration.json`:
    1: first.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.core.cache import read_measured, write_measured
from bench.core.versioned_json import VersionedJson

FILE_NAME: Final = "calibration.json"


@dataclass(frozen=True, slots=True)
class Calibration:
    """One way to send, against a server that does nothing.

    Args:
        ceiling: requests a second of one process, recording and checking all, in closed loop.
        floor: median latency of one user alone, seconds.
        users: users of the ceiling.
        measured: when, UTC.
    """

    ceiling: float
    floor: float
    users: int
    measured: str


def way(protocol: str, client: str) -> str:
    """The name of a way to send: `rest-fast`, `rest-requests`, `grpc-fast`, `grpc-grpcio`."""
    return f"{protocol}-{client}"


def stored_ceiling(clients: Mapping[str, str]) -> float | None:
    """Requests a second of one process, None if this machine was not calibrated.

    Of both protocols by turns, the harmonic mean of the two.

    Args:
        clients: the client of each protocol, as `Workload.clients` has them.
    """
    stored = read_calibration()
    ways = [way(*entry) for entry in clients.items()]
    if any(name not in stored for name in ways):
        return None
    return len(ways) / sum(1 / stored[name].ceiling for name in ways)


def read_calibration() -> dict[str, Calibration]:
    """What is stored for this machine, by way; {} if nothing is, or it was measured on other cores.

    Raises:
        UsageError: a file that cannot be read.
    """
    found = read_measured(_FILE, FILE_NAME)
    return {} if found is None else dict(found.ways)


def store_calibration(found: Mapping[str, Calibration]) -> Path:
    """Adds to what is stored for this machine, and gives the file."""
    return write_measured(_FILE, FILE_NAME, _Stored(os.cpu_count(), {**read_calibration(), **found}))


@dataclass(frozen=True, slots=True)
class _Stored:
    """The file: logical cores of the machine, and what was found by way."""

    cores: int | None
    ways: Mapping[str, Calibration]


_FILE: Final = VersionedJson(_Stored, 1, name="calibration", cure="run bertbench calibrate again")
