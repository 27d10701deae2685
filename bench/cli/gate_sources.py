"""What stands behind `--baseline` and `--candidate`: a target, a model folder, stored runs, or a store of baselines."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.analysis import Analysis, analyse
from bench.analysis.baselines import INDEX, promoted_runs
from bench.bert.demo_model import demo_model_dir
from bench.bert.model_folder import is_version, latest_version
from bench.errors import UsageError
from bench.load.duel import Contender
from bench.results.header import FILE_NAME
from bench.results.run import Run, find_runs
from bench.results.run_folder import REQUESTS
from bench.serving.target import Target, TargetKind, parse_target
from bench.units import counted


@dataclass(frozen=True, slots=True)
class StoredRuns:
    """A side made of runs.

    Args:
        label: for people.
        runs: analysed.
    """

    label: str
    runs: Sequence[Analysis]


def read_source(text: str, side: str, args: argparse.Namespace) -> Contender | StoredRuns:
    """The side in `text`.

    Args:
        text: what was given.
        side: `baseline` or `candidate`, whose own flags and model folder count.
        args: `model_dir`, `server_flag`, `baseline_flag`, `candidate_flag`.

    Raises:
        UsageError: neither a target nor a folder that holds a model or runs.
    """
    path = Path(text)
    # Bytes of a path that are not UTF-8 cannot be put into the files of a verdict.
    text = text.encode(errors="replace").decode()
    if path.is_dir():
        if (path / INDEX).is_file():
            return StoredRuns(text, [analyse(run) for run in promoted_runs(path)])
        if (path / FILE_NAME).is_file() or any(path.glob(f"*/{FILE_NAME}")):
            return StoredRuns(text, [analyse(run) for run in find_runs([path])])
        if any(entry.is_dir() and is_version(entry.name) for entry in path.iterdir()):
            return Contender(text, Target(TargetKind.EMBEDDED), path, _flags(side, args))
        if (path / "saved_model.pb").is_file():
            # Says which folder to give.
            latest_version(path)
        raise UsageError(f"{text} holds neither runs nor model versions; give a run set, a model folder or a target")
    if "/" in text and ":" not in text:
        raise UsageError(f"no folder {text}; give a run set, a model folder or a target like http://localhost:8501")
    target = parse_target(text)
    if target.kind is TargetKind.ESTIMATOR:
        raise UsageError("the estimator is not a server; give embedded, http://HOST:8501, a model folder or runs")
    return Contender(text, target, args.model_dir or demo_model_dir(), _flags(side, args))


def refuse_shared_runs(baseline: StoredRuns, candidate: StoredRuns) -> None:
    """Refuses runs that are there twice, be they copies: a run agrees with itself, whatever the server does.

    Raises:
        UsageError: a run belongs to both sides, or twice to one.
    """
    seen: dict[str, str] = {}
    shared: list[str] = []
    for name, side in (("baseline", baseline), ("candidate", candidate)):
        for entry in side.runs:
            identity = _identity(entry.run)
            if seen.get(identity) == name:
                raise UsageError(f"{entry.run.name} is twice in {side.label}; give each run once")
            if identity in seen:
                shared.append(entry.run.name)
            seen[identity] = name
    if shared:
        raise UsageError(
            f"{counted(len(shared), 'run')} on both sides ({min(shared)}, ...): {baseline.label} and "
            f"{candidate.label} must be different runs"
        )


def _identity(run: Run) -> str:
    """What a run has in common with its copies alone: its requests, when and where; its folder if it is unfinished."""
    if REQUESTS not in run.file.checksums:
        return str(run.path.resolve())
    return " ".join((run.file.checksums[REQUESTS], run.header.started, run.header.environment.host))


def _flags(side: str, args: argparse.Namespace) -> tuple[str, ...]:
    return (*args.server_flag, *getattr(args, f"{side}_flag"))
