"""Reading runs, finished and unfinished.

run = open_run(Path("results/20260131T120000Z-rest"))
columns = run.columns(["due", "sent", "done", "outcome"])       # numpy arrays, one value a request
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.core.bounded_files import MEBIBYTE, open_regular, own_file, read_regular
from bench.core.errors import UsageError, in_words
from bench.core.output import unicode_text
from bench.core.types import Floats
from bench.results import parquet
from bench.results.blocks import read_blocks
from bench.results.manifest import RunFile, RunManifest, read_run_file
from bench.results.parquet import Columns
from bench.results.run_folder import file_digest
from bench.results.run_paths import (
    BLOCKS,
    CLIENT_METRICS,
    FILE_NAME,
    REQUESTS,
    SENTENCES,
    SERVER_METRICS,
    run_paths,
)
from bench.results.samples import ClientSample, ServerSample, read_samples

BATCH: Final = 262_144
_MOST_SENTENCES: Final = 64 * MEBIBYTE


@dataclass(frozen=True)
class Run:
    """A stored run; `open_run` returns it.

    Args:
        path: its folder.
        file: its `run.json`.
    """

    path: Path
    file: RunFile
    _signatures: parquet.SignatureTable = field(default_factory=parquet.SignatureTable, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The folder's name, for people and files: bytes that are not UTF-8 are escaped."""
        return unicode_text(self.path.resolve().name)

    @property
    def identity(self) -> str:
        """What only copies of a run share: its requests, when and where; its folder if it is unfinished."""
        if REQUESTS not in self.file.checksums:
            return str(self.path.resolve())
        return " ".join((self.file.checksums[REQUESTS], self.manifest.started, self.manifest.environment.host))

    @property
    def manifest(self) -> RunManifest:
        """Workload, target and environment of the run."""
        return self.file.manifest

    @property
    def begins(self) -> float:
        """Start of the measured part, seconds since the run began."""
        return self.manifest.workload.warmup if self.file.warmup is None else self.file.warmup.begins

    @property
    def finished(self) -> bool:
        """Whether the run finished; if not, its records may lack the last second."""
        return self.file.finished

    @property
    def signatures(self) -> tuple[str, ...]:
        """The signatures that the column `signature` refers to, as far as it was read."""
        return self._signatures.names

    def batches(self, names: Sequence[str], size: int = BATCH) -> Iterator[Columns]:
        """Columns in pieces, about in the order of `done`.

        Args:
            names: columns of `bench.results.parquet.COLUMNS`.
            size: rows in a piece, about.

        Yields:
            Arrays by name. `outcome`, `wrong_kind` and `protocol` are numbers of `bench.results.blocks`'s tables,
            `signature` one of `signatures`; absent is NaN, `NO_BYTES` or `NO_VERSION`.

        Raises:
            UsageError: the records cannot be read.
        """
        unknown = set(names) - set(parquet.COLUMNS)
        if unknown:
            raise ValueError(f"no column {', '.join(sorted(unknown))}")
        if self.finished:
            yield from parquet.read_table(own_file(self.path, REQUESTS), names, size, self._signatures)
            return
        try:
            with open_regular(own_file(self.path, BLOCKS)) as file:
                for block in read_blocks(file):
                    yield parquet.block_columns(block, names, self._signatures)
        except FileNotFoundError:
            # Killed before the first file: a run without a request.
            return

    def columns(self, names: Sequence[str]) -> Columns:
        """Whole columns, see `batches`."""
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        for batch in self.batches(names):
            for name in names:
                parts[name].append(batch[name])
        empty = parquet.empty_columns(names)
        # One column at a time limits the memory for copies to one column.
        return {name: np.concatenate(parts.pop(name) or [empty[name]]) for name in names}

    def sentences(self) -> tuple[str, ...]:
        """Texts of the golden sentences, to which the column `sentence` refers; () in runs that did not store them.

        Raises:
            UsageError: the file cannot be read.
        """
        try:
            data = read_regular(own_file(self.path, SENTENCES), _MOST_SENTENCES)
            return tuple(data.decode("utf-8").splitlines())
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{self.path / SENTENCES} cannot be read ({in_words(error)}); restore it or run again"
            ) from error

    def server_samples(self) -> dict[str, Floats]:
        """Columns of `server-metrics.csv`; the fields of `ServerSample`, NaN where not known."""
        return read_samples(own_file(self.path, SERVER_METRICS), ServerSample)

    def client_samples(self) -> dict[str, Floats]:
        """Columns of `client-metrics.csv`; the fields of `ClientSample`, NaN where not known."""
        return read_samples(own_file(self.path, CLIENT_METRICS), ClientSample)


def open_run(path: Path, *, verify: bool = True) -> Run:
    """Opens a run folder.

    Args:
        path: the folder.
        verify: whether the checksums of a finished run's files are checked.

    Raises:
        UsageError: not a run folder, a newer format, or files that are missing or were changed.
    """
    run = Run(path, read_run_file(path / FILE_NAME))
    if verify:
        _check_files(path, run.file.checksums)
    return run


def _check_files(path: Path, checksums: Mapping[str, str]) -> None:
    for name, digest in checksums.items():
        file = own_file(path, name)
        if Path(name).name != name or not file.is_file():
            raise UsageError(f"{file} is missing; restore it or run again")
        if file_digest(file) != digest:
            raise UsageError(f"{file} was changed since the run; restore it or run again")


def find_runs(paths: Iterable[Path], *, verify: bool = True) -> list[Run]:
    """The runs at `paths`, each a run folder or a folder of runs (in the order of names, thus of time).

    Raises:
        UsageError: a path that is neither, a folder without a run, or a run that cannot be opened.
    """
    return [open_run(path, verify=verify) for path in run_paths(paths)]
