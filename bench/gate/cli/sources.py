"""What `--baseline` and `--candidate` name: a target, a model folder, stored runs, or a store of baselines."""

import argparse
from pathlib import Path

from bench.bert.contract.model_folder import is_version, latest_version
from bench.bert.demo.demo_model import demo_model_dir
from bench.core.errors import UsageError
from bench.gate.spec import Variant
from bench.gate.stored_runs import StoredRuns, read_stored_runs
from bench.serving.target import Target, TargetKind, parse_target


def read_source(text: str, side: str, args: argparse.Namespace) -> Variant | StoredRuns:
    """The variant or the stored runs that `text` names.

    Args:
        text: the option's value.
        side: `baseline` or `candidate`, whose own flags are used.
        args: `model_dir`, `server_flag`, `baseline_flag`, `candidate_flag`.

    Raises:
        UsageError: neither a target nor a folder that holds a model or runs.
    """
    path = Path(text)
    # Bytes of a path that are not UTF-8 cannot be put into the files of a verdict.
    text = text.encode(errors="replace").decode()
    if path.is_dir():
        if stored := read_stored_runs(path, text):
            return stored
        if any(entry.is_dir() and is_version(entry.name) for entry in path.iterdir()):
            return Variant(text, Target(TargetKind.EMBEDDED), path, _flags(side, args))
        if (path / "saved_model.pb").is_file():
            # Says which folder to give.
            latest_version(path)
        raise UsageError(f"{text} holds neither runs nor model versions; give a run set, a model folder or a target")
    if "/" in text and ":" not in text:
        raise UsageError(f"no folder {text}; give a run set, a model folder or a target like http://localhost:8501")
    target = parse_target(text)
    if target.kind is TargetKind.ESTIMATOR:
        raise UsageError("the estimator is not a server; give embedded, http://HOST:8501, a model folder or runs")
    return Variant(text, target, args.model_dir or demo_model_dir(), _flags(side, args))


def _flags(side: str, args: argparse.Namespace) -> tuple[str, ...]:
    return (*args.server_flag, *getattr(args, f"{side}_flag"))
