"""The folder of a sweep: its runs and the step of each, so that an interrupted sweep can continue.

    sweep.json   what decides the steps (`job`), the run folder of each completed step, and the options of the report
    runs/        the run folders

Format history of `sweep.json`:
    1: first.
    2: the job names the transport, which was always grpcio for gRPC before.
    3: the job has the typed `request` instead of the texts of `options`, and `knee` instead of `quick`.
    4: of headers the job has the names only.
    5: the options of the report (`report`), null where an earlier version wrote it.
"""

import contextlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bench.capacity.experiment.experiment_design import FULL, QUICK
from bench.capacity.experiment.job_changes import changed_options
from bench.capacity.experiment.sweep_spec import not_default
from bench.capacity.plan.report_options import ReportOptions
from bench.core.atomic_files import write_atomically
from bench.core.bounded_files import own_file
from bench.core.errors import UsageError
from bench.core.redaction import split_headers
from bench.core.versioned_json import VersionedJson
from bench.load.locust_adapter.options import READERS, SWITCHES

FILE_NAME: Final = "sweep.json"


def _add_the_transport(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 2."""
    job = dict(raw["job"])
    if "protocol" in job:
        job["options"] = dict(job["options"])
        given = job["options"].pop("transport", "fast")
        job["transport"] = "grpcio" if job["protocol"] == "grpc" else given
    return raw | {"job": job}


_FIELDS: Final = {"sentences_per_request": "sentences", "request_timeout": "timeout"}
_TLS: Final = {"ca_cert": "ca", "client_cert": "cert", "client_key": "key"}


def _type_the_request(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 3."""
    job = dict(raw["job"])
    options = job.pop("options", {})
    request: dict[str, Any] = {}
    for name, text in options.items():
        if name not in _TLS:
            request[_FIELDS.get(name, name)] = name in SWITCHES or _read(name, text)
    if options.keys() & _TLS.keys():
        request["tls"] = {field: options.get(name) for name, field in _TLS.items()}
    job["request"] = not_default(request)
    if "quick" in job:
        job["knee"] = list((QUICK if job.pop("quick") else FULL).knee)
    return raw | {"job": job}


def _read(name: str, text: str) -> Any:
    """The value of an option as format 3 has it."""
    if name != "headers":
        return READERS[name](text)
    return dict.fromkeys((part.partition(":")[0].strip() for part in split_headers(text)), "")


def _name_the_headers(raw: dict[str, Any]) -> dict[str, Any]:
    """Format 4."""
    job = dict(raw["job"])
    if "headers" in job.get("request", {}):
        job["request"] = job["request"] | {"headers": sorted(job["request"]["headers"])}
    return raw | {"job": job}


@dataclass(frozen=True, slots=True)
class _State:
    """The file: what decides the steps, the run folder of each completed step, and the options of the report."""

    job: Mapping[str, Any]
    done: Mapping[str, str]
    report: ReportOptions | None


_FILE: Final = VersionedJson(
    _State,
    5,
    name="sweep file",
    cure="restore it, or give another --out",
    updates={
        2: _add_the_transport,
        3: _type_the_request,
        4: _name_the_headers,
        5: lambda raw: raw | {"report": None},
    },
    option=orjson.OPT_INDENT_2,
)


_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "slo": (str,),
    "batching": (str,),
    "label": (str, type(None)),
    "policy": (str,),
    "replicas": (int,),
    "seed": (int,),
}
"""Types of the values of a job that are read again."""


class SweepFolder:
    """A sweep on disk; made by `create` or `open`.

    Args:
        path: the folder.
        job: what decides the steps, as plain JSON values.
        done: name of the run folder of each completed step.
        report: options of the report in the folder, or of the one that the sweep will write; None if unknown.
    """

    def __init__(
        self, path: Path, job: Mapping[str, Any], done: Mapping[str, str], report: ReportOptions | None = None
    ) -> None:
        self.path = path
        self.job = dict(job)
        self.report = report
        self._done = dict(done)

    @classmethod
    def create(cls, path: Path, job: Mapping[str, Any], *, resume: bool) -> "SweepFolder":
        """Begins a sweep, or continues one with the same job.

        Raises:
            UsageError: there is a sweep and `resume` is False, it has another job, or there is none to resume.
        """
        file = path / FILE_NAME
        if file.exists():
            found = cls.open(path)
            if not resume:
                raise UsageError(f"{path} already holds a sweep; give --resume to continue it, or another --out")
            if changed := changed_options(found.job, job):
                raise UsageError(
                    f"{path} holds a sweep of other options ({', '.join(changed)}); give the same options, or another "
                    "--out"
                )
            return found
        if resume:
            raise UsageError(f"{path} holds no sweep to continue; leave out --resume to begin one, or check --out")
        path.mkdir(parents=True, exist_ok=True)
        sweep = cls(path, job, {})
        sweep._write()
        return sweep

    @classmethod
    def open(cls, path: Path) -> "SweepFolder":
        """Opens a sweep.

        Raises:
            UsageError: there is no sweep, or its format is newer.
        """
        try:
            found = _FILE.read(path / FILE_NAME)
        except FileNotFoundError as error:
            raise UsageError(
                f"{path} holds no sweep; make one with bertbench capacity --out {shlex.quote(str(path))}"
            ) from error
        for name, kinds in _TYPES.items():
            if name in found.job and type(found.job[name]) not in kinds:
                raise UsageError(f"{path / FILE_NAME} is not a valid {_FILE.name} (job.{name}); {_FILE.cure}")
        return cls(path, found.job, found.done, found.report)

    def setting(self, name: str) -> Any:
        """A value of the job, of the type in `_TYPES`.

        Raises:
            UsageError: the job has none.
        """
        if name not in self.job:
            raise UsageError(f"{self.path / FILE_NAME} is not a valid {_FILE.name} (no job.{name}); {_FILE.cure}")
        return self.job[name]

    @property
    def runs(self) -> Path:
        """Folder of the run folders."""
        return self.path / "runs"

    @property
    def steps(self) -> tuple[str, ...]:
        """The completed steps, in the order of completion."""
        return tuple(self._done)

    def run_of(self, step: str) -> Path | None:
        """The run folder of a completed step; None for other steps.

        Raises:
            UsageError: it is not in the sweep's folder.
        """
        name = self._done.get(step)
        run = None if name is None else own_file(self.path, f"runs/{name}")
        return run if run is not None and run.is_dir() else None

    def add(self, step: str, run: Path) -> None:
        """Records a completed step on disk."""
        self._done[step] = run.name
        self._write()

    def store_report(self, options: ReportOptions) -> None:
        """Records the options of the report on disk."""
        self.report = options
        self._write()

    def discard_unbegun(self) -> None:
        """Removes a sweep without a run, so that the next command can begin one there with other options."""
        if self._done or any(self.runs.glob("*")):
            return
        (self.path / FILE_NAME).unlink(missing_ok=True)
        for folder in (self.runs, self.path):
            # The folder was the user's if anything else is in it.
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _write(self) -> None:
        write_atomically(self.path / FILE_NAME, _FILE.encode(_State(self.job, self._done, self.report)))
