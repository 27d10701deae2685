"""Writes a run folder: a kill loses at most the last second, and never leaves a run that looks finished.

    writer = RunWriter.create(Path("results"), "rest-poisson", describe(workload, arrivals, ...))
    writer.add_block(buffer.take())             # about once a second, from every worker's RecordBuffer
    writer.add_client_sample(ClientSample(...))
    writer.add_server_sample(ServerSample(...))
    folder = writer.finish(elapsed=62.0)

While it is written, a folder holds `run.json` ("finished": false), `requests.blocks` (see `bench.results.blocks`), and
the two sample files. `finish` makes `requests.parquet`, `timeseries.csv` and `histogram.hlog`, then puts checksums and
"finished": true into `run.json` in one atomic step, and removes the blocks. `bench.results.run_reader` reads both
states.

Not locked: to be used from one thread (greenlets are fine).
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Final, Self

import numpy as np

from bench.core.atomic_files import append_all, write_atomically
from bench.core.errors import UsageError, naming
from bench.core.units import format_seconds, pluralize, were
from bench.objectives.grammar import Objective
from bench.objectives.verdicts import ObjectivesResult
from bench.results import hdr_log, timeseries
from bench.results.blocks import OUTCOME_CODES, Block, BlockSequence, parse_block, read_blocks
from bench.results.failures import FailureText
from bench.results.manifest import RunFile, RunManifest, Stopping, read_run_file
from bench.results.overload import Overload
from bench.results.records import Outcome
from bench.results.run_paths import (
    BLOCKS,
    CLIENT_METRICS,
    FILE_NAME,
    HISTOGRAM,
    REQUESTS,
    SENTENCES,
    SERVER_METRICS,
    TIME_SERIES,
)
from bench.results.samples import ClientSample, SampleFile, ServerSample
from bench.results.warmup_end import FoundWarmup, find_warmup
from bench.serving.errors import Lack

_ROW_GROUP: Final = 131_072


class RunWriter:
    """Writes one run folder; made by `create`."""

    def __init__(self, path: Path, manifest: RunManifest, sync_every: float | None, find_warmup: bool) -> None:
        self.path = path
        self._find_warmup = find_warmup
        self._file = RunFile(manifest=manifest)
        self._sync_every = sync_every
        self._synced = time.monotonic()
        self._seen: dict[int, BlockSequence] = {}
        self._counts = np.zeros(len(OUTCOME_CODES), np.int64)
        self._last_done = 0.0
        self._blocks: FileIO | None = None
        self._write_manifest()
        self._blocks = (path / BLOCKS).open("xb", buffering=0)
        self._server = SampleFile(path / SERVER_METRICS, ServerSample)
        self._client = SampleFile(path / CLIENT_METRICS, ClientSample)

    @classmethod
    def create(
        cls,
        root: Path,
        slug: str,
        manifest: RunManifest,
        *,
        sync_every: float | None = 1.0,
        sentences: Sequence[str] = (),
        find_warmup: bool = False,
    ) -> Self:
        """Makes `root/<UTC time>-<slug>/` and starts writing.

        Args:
            root: the folder of runs; made if it is not there.
            slug: short name; whatever is not a letter, digit or dash becomes a dash.
            manifest: what is known of the run.
            sync_every: seconds between flushes to the disk, made inside `add_block`; None leaves them to `sync`, for a
                caller whose loop must not wait for a disk.
            sentences: texts of the golden sentences, for reports; they are stored one a line.
            find_warmup: whether `finish` looks for the end of the warm-up, see `bench.results.warmup_end`.

        Raises:
            OSError: the folder or a file in it cannot be made; nothing of it is left.
        """
        name = re.sub(r"[^a-z0-9]+", "-", slug.lower()).strip("-") or "run"
        stamp = re.sub(r"[-:]|\.\d+", "", manifest.started)
        for attempt in range(1000):
            path = root / (f"{stamp}-{name}" + (f"-{attempt + 1}" if attempt else ""))
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            try:
                if sentences:
                    lines = "".join(f"{' '.join(text.split())}\n" for text in sentences)
                    write_atomically(path / SENTENCES, lines.encode())
                return cls(path, manifest, sync_every, find_warmup)
            except BaseException:
                # No request was sent: a folder without its files would be taken for a run.
                shutil.rmtree(path, ignore_errors=True)
                raise
        raise UsageError(f"{root} has a thousand runs called {stamp}-{name}; name another folder")

    @property
    def counts(self) -> dict[str, int]:
        """Requests stored so far, by outcome."""
        return {str(name): int(self._counts[code]) for name, code in OUTCOME_CODES.items()}

    def add_block(self, data: bytes) -> Block | None:
        """Stores a block of `RecordBuffer.take`; b"" and a repeated block are ignored (returns None).

        Raises:
            BlockError: the bytes are no block, or its records contradict themselves.
        """
        if not data:
            return None
        block = parse_block(data)
        seen = self._seen.setdefault(block.worker, BlockSequence())
        if block.sequence in seen:
            return None
        append_all(self._open_blocks(), data)
        seen.add(block.sequence)
        self._counts += np.bincount(block.rows["outcome"], minlength=self._counts.size)
        self._last_done = float(np.fmax.reduce(block.rows["done"], initial=self._last_done))
        if self._sync_every is not None and time.monotonic() - self._synced >= self._sync_every:
            self.sync()
        return block

    def add_server_sample(self, sample: ServerSample) -> None:
        """Adds a line to `server-metrics.csv`."""
        self._server.append(sample)

    def add_client_sample(self, sample: ClientSample) -> None:
        """Adds a line to `client-metrics.csv`."""
        self._client.append(sample)

    def add_warning(self, text: str) -> None:
        """Adds a line to the manifest's warnings, at once on disk."""
        manifest = self._file.manifest
        self._file = replace(self._file, manifest=replace(manifest, warnings=(*manifest.warnings, text)))
        self._write_manifest()

    def sync(self) -> None:
        """Flushes the records to disk, so that a power cut does not lose them; a kill of the process does not
        anyway."""
        with naming(self.path / BLOCKS):
            os.fdatasync(self._open_blocks().fileno())
        self._synced = time.monotonic()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What the run is held to."""
        return self._file.manifest.objectives

    def end_load(self, ends: float, scheduled: int | None) -> None:
        """Shortens the run that the manifest describes, at once on disk: nothing is due after `ends`.

        Args:
            ends: seconds since the run began, after its warm-up.
            scheduled: due times until then; None in closed loop.
        """
        manifest = self._file.manifest
        workload = replace(manifest.workload, duration=ends - manifest.workload.warmup)
        self._file = replace(self._file, manifest=replace(manifest, workload=workload, scheduled=scheduled))
        self._write_manifest()

    def finish(
        self,
        elapsed: float,
        *,
        interrupted: bool = False,
        stopping: Stopping | None = None,
        overload: Overload | None = None,
        lacks: Mapping[Lack, int] | None = None,
        failures: Sequence[FailureText] = (),
    ) -> Path:
        """Converts the folder to its final form and returns it.

        Args:
            elapsed: seconds from the run's start to its end, or to the moment when it was stopped early.
            interrupted: whether it was.
            stopping: the looks at a run that could stop by itself.
            overload: why, if it was for asking more than the server carries.
            lacks: requests that failed because the load generator lacked something, by what.
            failures: the texts of the errors of failed requests.
        """
        self.sync()
        self.close()
        for warning in self._missing(elapsed if interrupted else None):
            self.add_warning(warning)
        warmup = self._found_warmup(elapsed) if self._find_warmup else None
        self._convert(0.0 if warmup is None else warmup.begins)
        names = [REQUESTS, TIME_SERIES, HISTOGRAM, SERVER_METRICS, CLIENT_METRICS]
        names += [SENTENCES] if (self.path / SENTENCES).exists() else []
        self._file = replace(
            self._file,
            finished=True,
            elapsed=elapsed,
            interrupted=interrupted,
            stopping=stopping,
            overload=overload,
            lacks=lacks or {},
            failures=tuple(failures),
            warmup=warmup,
            counts=self.counts,
            checksums={name: file_digest(self.path / name) for name in names},
        )
        self._write_manifest()
        (self.path / BLOCKS).unlink()
        return self.path

    def close(self) -> None:
        """Closes the files; without `finish` the run stays unfinished."""
        if self._blocks is not None:
            self._blocks.close()
            self._blocks = None
            self._server.close()
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open_blocks(self) -> FileIO:
        if self._blocks is None:
            raise ValueError(f"{self.path} was closed")
        return self._blocks

    def _write_manifest(self) -> None:
        write_atomically(self.path / FILE_NAME, self._file.to_bytes())

    def _missing(self, stopped: float | None) -> Iterator[str]:
        """Missing records, one line each; what was scheduled after the run was stopped has none."""
        for worker, seen in sorted(self._seen.items()):
            if seen.lost:
                yield f"{seen.lost} of the {seen.sent} record blocks of worker {worker} never arrived"
        scheduled, stored = self._file.manifest.scheduled, int(self._counts.sum())
        if scheduled is not None and stored < scheduled:
            left = scheduled - stored
            rest = f"{left:,} of the {pluralize(scheduled, 'scheduled request')}"
            if stopped is None:
                yield f"{rest} left no record"
            else:
                yield f"stopped {format_seconds(stopped)} into the run: {rest} {were(left)} not due any more"

    def _found_warmup(self, elapsed: float) -> FoundWarmup:
        """The warm-up, from the records."""
        ok = OUTCOME_CODES[Outcome.OK]
        columns = {name: [np.empty(0)] for name in ("due", "sent", "done")}
        with (self.path / BLOCKS).open("rb") as file:
            for block in read_blocks(file):
                where = block.rows["outcome"] == ok
                for name, parts in columns.items():
                    # Not all columns at once: a view of a row keeps the whole row in memory.
                    parts.append(block.rows[name][where])
        due, sent, done = map(np.concatenate, columns.values())
        manifest = self._file.manifest
        planned = manifest.workload.warmup
        ends = min(planned + manifest.workload.duration, elapsed)
        return find_warmup(due, done - sent, planned, ends, not manifest.open_loop)

    def _convert(self, begins: float) -> None:
        """Writes the Parquet file, the time series and the histogram from the blocks, in one pass.

        Args:
            begins: requests due before this belong to the warm-up, as do those that are marked.
        """
        # Imported here, so that a load generator with a writer does not load pyarrow while it sends.
        from bench.results import parquet

        series = timeseries.TimeSeries()
        log = hdr_log.HistogramLog(hdr_log.interval_for(self._last_done))
        signatures = parquet.SignatureTable()
        with (self.path / BLOCKS).open("rb") as file, parquet.TableWriter(self.path / REQUESTS) as writer:
            for blocks in _batches(read_blocks(file), _ROW_GROUP):
                columns = parquet.concatenate(
                    [parquet.block_columns(block, parquet.COLUMNS, signatures) for block in blocks]
                )
                columns["warmup"] = columns["warmup"] | (columns["due"] < begins)
                writer.write(columns, signatures.names)
                series.add(columns)
                log.add(columns)
        write_atomically(self.path / TIME_SERIES, timeseries.to_csv(series.close()).encode())
        started = datetime.fromisoformat(self._file.manifest.started)
        write_atomically(self.path / HISTOGRAM, "".join(f"{line}\n" for line in log.lines(started)).encode())


def _batches(blocks: Iterator[Block], rows: int) -> Iterator[list[Block]]:
    """Blocks in groups of at least `rows` records (the last may have fewer)."""
    batch: list[Block] = []
    size = 0
    for block in blocks:
        batch.append(block)
        # Counted as they come: a slow run has a block a second of one record or two.
        size += block.rows.size
        if size >= rows:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def store_verdicts(path: Path, verdicts: ObjectivesResult) -> None:
    """Adds the verdicts on its objectives to the `run.json` of a finished run folder.

    Raises:
        UsageError: it cannot be read.
        OSError: it cannot be written.
    """
    file = path / FILE_NAME
    write_atomically(file, replace(read_run_file(file), verdicts=verdicts).to_bytes())


def file_digest(path: Path) -> str:
    """`sha256:` and the hex digest of a file."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
