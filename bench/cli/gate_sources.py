"""What stands behind `--baseline` and `--candidate`: a target, a model folder, stored runs, or a store of baselines."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.analysis.analysis import Analysis, analyse
from bench.analysis.baselines import INDEX, promoted_runs
from bench.bert.demo_model import demo_model_dir
from bench.errors import UsageError
from bench.load.duel import Contender
from bench.results.header import FILE_NAME
from bench.results.run import find_runs
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
    if path.is_dir():
        if (path / INDEX).is_file():
            return StoredRuns(text, [analyse(run) for run in promoted_runs(path)])
        if (path / FILE_NAME).is_file() or any(path.glob(f"*/{FILE_NAME}")):
            return StoredRuns(text, [analyse(run) for run in find_runs([path])])
        if any(entry.is_dir() and entry.name.isdigit() for entry in path.iterdir()):
            return Contender(text, Target(TargetKind.EMBEDDED), path, _flags(side, args))
        raise UsageError(f"{text} holds neither runs nor model versions; give a run set, a model folder or a target")
    if "/" in text and ":" not in text:
        raise UsageError(f"no folder {text}; give a run set, a model folder or a target like http://localhost:8501")
    target = parse_target(text)
    if target.kind is TargetKind.ESTIMATOR:
        raise UsageError("the estimator is no server; give embedded, http://HOST:8501, a model folder or runs")
    return Contender(text, target, args.model_dir or demo_model_dir(), _flags(side, args))


def refuse_shared_runs(baseline: StoredRuns, candidate: StoredRuns) -> None:
    """Refuses sides that have runs in common: they agree with themselves, whatever the server does.

    Raises:
        UsageError: a run belongs to both.
    """
    paths = [{entry.run.path.resolve() for entry in side.runs} for side in (baseline, candidate)]
    if shared := paths[0] & paths[1]:
        raise UsageError(
            f"{counted(len(shared), 'run')} on both sides ({min(shared).name}, ...): {baseline.label} and "
            f"{candidate.label} must be different runs"
        )


def _flags(side: str, args: argparse.Namespace) -> tuple[str, ...]:
    return (*args.server_flag, *getattr(args, f"{side}_flag"))
