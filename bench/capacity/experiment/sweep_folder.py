"""The folder of a sweep: its runs, and which step each of them is, so that a killed sweep goes on where it was.

    sweep.json   what the sweep is (its job) and the steps that are done
    runs/        the run folders

Format history of `sweep.json`:
    1: first.
    2: the job names the client, which was always grpcio for gRPC before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bench.core.atomic_files import write_atomically
from bench.core.errors import UsageError
from bench.core.versioned_json import VersionedJson

FILE_NAME: Final = "sweep.json"


def _name_the_client(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 2."""
    job = dict(raw["job"])
    if "protocol" in job:
        job["options"] = dict(job["options"])
        given = job["options"].pop("transport", "fast")
        job["transport"] = "grpcio" if job["protocol"] == "grpc" else given
    return raw | {"job": job}


@dataclass(frozen=True, slots=True)
class _State:
    """The file: what decides the steps, and the run folder of each step that is done."""

    job: Mapping[str, Any]
    done: Mapping[str, str]


_FILE: Final = VersionedJson(
    _State,
    2,
    name="sweep file",
    cure="restore it, or name another --out",
    updates={2: _name_the_client},
    option=orjson.OPT_INDENT_2,
)


class SweepFolder:
    """A sweep on disk; made by `create` or `open`.

    Args:
        path: the folder.
        job: what decides the steps, plain values.
        done: run folder by step.
    """

    def __init__(self, path: Path, job: Mapping[str, Any], done: Mapping[str, str]) -> None:
        self.path = path
        self.job = dict(job)
        self._done = dict(done)

    @classmethod
    def create(cls, path: Path, job: Mapping[str, Any], *, resume: bool) -> "SweepFolder":
        """Begins a sweep, or takes up one of the same job.

        Raises:
            UsageError: the folder holds a sweep and `resume` was not asked for, it is another job's, or `resume` was
                asked for and there is none.
        """
        file = path / FILE_NAME
        if file.exists():
            found = cls.open(path)
            changed = sorted(name for name in job.keys() | found.job.keys() if job.get(name) != found.job.get(name))
            if not resume:
                raise UsageError(f"{path} holds a sweep already; give --resume to go on with it, or another --out")
            if changed:
                was = ", ".join(f"{name} was {found.job.get(name)!r}" for name in changed)
                raise UsageError(f"{path} holds another sweep ({was}); give the same options, or another --out")
            return found
        if resume:
            raise UsageError(f"{path} holds no sweep to go on with; leave out --resume to begin one, or check --out")
        path.mkdir(parents=True, exist_ok=True)
        sweep = cls(path, job, {})
        sweep._write()
        return sweep

    @classmethod
    def open(cls, path: Path) -> "SweepFolder":
        """A sweep that is there.

        Raises:
            UsageError: no sweep, or one of a newer format.
        """
        try:
            found = _FILE.read(path / FILE_NAME)
        except FileNotFoundError as error:
            raise UsageError(f"{path} holds no sweep; make one with bertbench capacity --out {path}") from error
        return cls(path, found.job, found.done)

    @property
    def runs(self) -> Path:
        """Where its run folders are."""
        return self.path / "runs"

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that are done, in the order in which they were."""
        return tuple(self._done)

    def run_of(self, step: str) -> Path | None:
        """The run folder of a step that is done; None if it is not."""
        name = self._done.get(step)
        return self.runs / name if name is not None and (self.runs / name).is_dir() else None

    def add(self, step: str, run: Path) -> None:
        """Notes that a step is done, at once on disk."""
        self._done[step] = run.name
        self._write()

    def _write(self) -> None:
        write_atomically(self.path / FILE_NAME, _FILE.encode(_State(self.job, self._done)))
