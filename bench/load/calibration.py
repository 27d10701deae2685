"""What the load generator itself can do on this machine: stored by `bertbench calibrate`, read by every run.

Format history of `calibration.json`:
    1: first.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from bench.errors import UsageError, in_words
from bench.results.atomic import write_atomically
from bench.results.cache import cache_dir, make_cache_dir

FORMAT: Final = 1
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
    path = _path()
    try:
        raw = orjson.loads(path.read_bytes())
        if raw["format"] != FORMAT or raw["cores"] != os.cpu_count():
            return {}
        return {name: Calibration(**entry) for name, entry in raw["ways"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({in_words(error)}); run bertbench calibrate again") from error


def store_calibration(found: Mapping[str, Calibration]) -> Path:
    """Adds to what is stored for this machine, and gives the file."""
    path = _path()
    ways = {**read_calibration(), **found}
    make_cache_dir()
    body = {"format": FORMAT, "cores": os.cpu_count(), "ways": {name: asdict(entry) for name, entry in ways.items()}}
    write_atomically(path, orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path


def _path() -> Path:
    return cache_dir() / FILE_NAME
