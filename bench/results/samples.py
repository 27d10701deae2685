"""Samples of server and client, one per second, and their CSV files, which remain readable after a kill.

Columns are the fields of the sample's class, base units; an empty cell is an unknown value. Counters of the server are
cumulative, as in its Prometheus metrics, so that a missed sample loses nothing.
"""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, Generic, TypeVar

import numpy as np

from bench.core.atomic_files import append_all
from bench.core.bounded_files import MEBIBYTE, read_regular
from bench.core.errors import UsageError, in_words
from bench.core.types import Floats
from bench.core.units import pluralize
from bench.workload.workload import MOST_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSample:
    """The server at one time.

    Args:
        time: seconds since the run began.
        cpu: cores in use since the last sample (1.5 is one and a half).
        rss: resident memory, bytes.
        requests_ok: successful requests, counter.
        requests_failed: requests that failed, counter.
        rest_count: requests timed by the server on REST, counter.
        rest_seconds: their total time inside the server (request_latency), seconds, counter.
        grpc_count: the same on gRPC.
        grpc_seconds: the same on gRPC.
        runtime_count: runs of the model, counter.
        runtime_seconds: their total time with any wait for a batch (runtime_latency), seconds, counter.
        queue_count: requests, or parts of split ones, that waited for a batch, counter.
        queue_seconds: their total wait (queuing_latency), seconds, counter.
        batch_count: batches run, counter.
        batch_rows: their total rows, padding left out, counter.
        gpu: utilisation of the GPU since the last sample, 0 to 1.
        gpu_memory: GPU memory in use, bytes.
        gpu_power: power that the GPU draws, watts.
        gpu_energy: energy that it has used, joules, counter.
    """

    time: float
    cpu: float | None = None
    rss: float | None = None
    requests_ok: float | None = None
    requests_failed: float | None = None
    rest_count: float | None = None
    rest_seconds: float | None = None
    grpc_count: float | None = None
    grpc_seconds: float | None = None
    runtime_count: float | None = None
    runtime_seconds: float | None = None
    queue_count: float | None = None
    queue_seconds: float | None = None
    batch_count: float | None = None
    batch_rows: float | None = None
    gpu: float | None = None
    gpu_memory: float | None = None
    gpu_power: float | None = None
    gpu_energy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSample:
    """A load-generating process at one time.

    Args:
        time: seconds since the run began.
        worker: index of the process.
        cpu: cores that it used since its last sample (1.0 is one whole core, the most that one process can send with).
        rss: resident memory, bytes.
        loop_lag: largest delay of a timer of its event loop since its last sample, seconds.
        in_flight: requests sent and not done.
        waiting: requests due and not sent.
        machine_cpu: cores in use on its machine since its last sample, by all processes.
        users: mean number of its users since its last sample.
    """

    time: float
    worker: int
    cpu: float | None = None
    rss: float | None = None
    loop_lag: float | None = None
    in_flight: float | None = None
    waiting: float | None = None
    machine_cpu: float | None = None
    users: float | None = None


MOST_VALUE: Final = 1e18
"""No figure of a sample is larger."""
_MOST_BYTES: Final = 256 * MEBIBYTE
"""A day of samples of ten workers has some 80 MB."""
_FIRST_COLUMNS: Final = 8
"""Columns of the files of every format."""

Sample = TypeVar("Sample", ServerSample, ClientSample)


class SampleFile(Generic[Sample]):
    """A CSV file to which samples are appended, one whole line at a time."""

    def __init__(self, path: Path, kind: type[Sample]) -> None:
        self._names = _names(kind)
        self._file = path.open("xb", buffering=0)
        self._write(self._names)

    def append(self, sample: Sample) -> None:
        """Adds a line."""
        self._write([_cell(getattr(sample, name)) for name in self._names])

    def _write(self, cells: list[str]) -> None:
        append_all(self._file, (",".join(cells) + "\n").encode())

    def close(self) -> None:
        self._file.close()


def _cell(value: float | None) -> str:
    """A value as it is stored; empty for one that no reader would take, like the infinity of a server's page."""
    return repr(value) if value is not None and 0 <= value <= MOST_VALUE else ""


def read_samples(path: Path, kind: type[Sample]) -> dict[str, Floats]:
    """All columns of a sample file, float64, NaN for an empty cell; an incomplete last line is ignored.

    Columns that later formats appended are NaN in files without them.

    Raises:
        UsageError: other columns, or a cell that is not a number.
    """
    names = _names(kind)
    try:
        text = read_regular(path, _MOST_BYTES).decode("utf-8")
        rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    except FileNotFoundError:
        rows = [names]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read ({in_words(error)}); restore the file or run again") from error
    if rows and rows[0] != names[: max(len(rows[0]), _FIRST_COLUMNS)]:
        raise UsageError(f"{path} has the columns {','.join(rows[0])}; this version reads {','.join(names)}")
    table = np.full((max(len(rows) - 1, 0), len(names)), math.nan)
    for index, row in enumerate(rows[1:]):
        try:
            if len(row) != len(rows[0]):
                # A line of one cell would be taken for all.
                raise ValueError(f"{pluralize(len(row), 'cell')}, not {len(rows[0])}")
            table[index, : len(rows[0])] = [float(cell) if cell else math.nan for cell in row]
        except ValueError as error:
            raise UsageError(
                f"{path} line {index + 2} is not a sample ({error}); restore the file or run again"
            ) from error
    _check_values(table, names, path)
    return {name: table[:, index] for index, name in enumerate(names)}


def _check_values(table: Floats, names: list[str], path: Path) -> None:
    """Refuses values that no sample has: times outside of every run, and numbers that are not finite."""
    limits = np.full(len(names), MOST_VALUE)
    limits[names.index("time")] = MOST_SECONDS
    known = ~np.isnan(table)
    wrong = known & ~((table >= 0) & (table <= limits))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise UsageError(
            f"{path} line {row + 2} has {table[row, column]:g} for {names[column]}; restore the file or run again"
        )
    if np.isnan(table[:, names.index("time")]).any():
        raise UsageError(f"{path} has a sample without its time; restore the file or run again")


def counter_growth(samples: Mapping[str, Floats], name: str) -> Floats:
    """Increase of counter `name` between each two samples, float64 `[samples - 1]`; NaN after a restart."""
    growth = np.diff(samples[name])
    return np.where(growth >= 0, growth, math.nan)


def counter_rate(samples: Mapping[str, Floats], name: str) -> Floats:
    """Increase per second of counter `name` before each sample, float64; NaN for the first and after a restart."""
    values, times = samples[name], samples["time"]
    rate = np.full(values.shape, math.nan)
    if values.size > 1:
        growth, step = np.diff(values), np.diff(times)
        rate[1:] = np.where((growth >= 0) & (step > 0), growth / np.where(step > 0, step, 1.0), math.nan)
    return rate


def _names(kind: type[ServerSample] | type[ClientSample]) -> list[str]:
    return [entry.name for entry in fields(kind)]
