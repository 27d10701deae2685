"""What `--baseline` and `--candidate` name: a target, a model folder, stored runs, or a store of baselines."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.bert.contract.model_folder import is_version, latest_version
from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.common.options import access_of
from bench.core.errors import UsageError, did_you_mean
from bench.core.output import unicode_text
from bench.gate.cli.arguments.gate import live_options
from bench.gate.spec import Variant
from bench.gate.stored_runs import StoredRuns, read_stored_runs
from bench.gate.types import ARMS
from bench.serving.headers import read_headers
from bench.serving.target import Target, TargetKind, parse_target, reach

# Of targets, the last two without what belongs behind a colon.
_WITHOUT_COLON: Final = ("embedded", "estimator", "docker", "binary")
_EXAMPLES: Final = "embedded or http://localhost:8501"


def read_source(text: str, side: str, args: argparse.Namespace) -> Variant | StoredRuns:
    """The variant or the stored runs that `text` names.

    Args:
        text: the option's value.
        side: `baseline` or `candidate`, whose own flags are used.
        args: `baseline`, `candidate`, `model_dir`, `server_flag`, `baseline_flag`, `candidate_flag`.

    Raises:
        UsageError: neither a target nor a folder that holds a model or runs, or a target whose model is not known.
    """
    path = Path(text)
    # Bytes of a path that are not UTF-8 cannot be put into the files of a verdict.
    text = unicode_text(text)
    if path.is_dir():
        if stored := read_stored_runs(path, text):
            return stored
        if _holds_versions(path):
            return Variant(text, Target(TargetKind.EMBEDDED), path, _flags(side, args))
        if (path / "saved_model.pb").is_file():
            # Says which folder to give.
            latest_version(path)
        raise UsageError(f"{text} holds neither runs nor model versions; give a run set, a model folder or a target")
    if ":" not in text and text.strip() not in _WITHOUT_COLON:
        cure = did_you_mean(text, _WITHOUT_COLON) or f"; give a run set, a model folder or a target like {_EXAMPLES}"
        raise UsageError(f"no folder {text}{cure}")
    target = parse_target(text)
    if target.kind is TargetKind.ESTIMATOR:
        raise UsageError("the estimator is not a server; give embedded, http://HOST:8501, a model folder or runs")
    return Variant(text, target, model_of(f"--{side} {text}", target, args, _other(side, args)), _flags(side, args))


def model_of(name: str, target: Target, args: argparse.Namespace, other: Path | None = None) -> Path:
    """The model of a target: that of `--model-dir`, or the demo model where no other one can be meant.

    Args:
        name: the target as the user gave it, with the option.
        target: the target.
        args: `model_dir`.
        other: what the other side of the gate names; None without one.

    Raises:
        UsageError: a server of the user's own, or a model folder on the other side, and no `--model-dir`: the demo
            model would be a guess, and the answers or the requests of the other side would be blamed for it.
    """
    if args.model_dir is not None:
        model_dir: Path = args.model_dir
        return model_dir
    if target.kind in (TargetKind.BINARY, TargetKind.DOCKER) or (other is not None and _is_model(other)):
        raise UsageError(f"the model of {name} is not known; name the folder of its export with --model-dir")
    return demo_model_dir()


def _other(side: str, args: argparse.Namespace) -> Path:
    (other,) = set(ARMS) - {side}
    return Path(getattr(args, other))


def _is_model(path: Path) -> bool:
    return path.is_dir() and read_stored_runs(path, "") is None and _holds_versions(path)


def _holds_versions(folder: Path) -> bool:
    return any(entry.is_dir() and is_version(entry.name) for entry in folder.iterdir())


def _flags(side: str, args: argparse.Namespace) -> tuple[str, ...]:
    return (*args.server_flag, *getattr(args, f"{side}_flag"))


def reach_variants(baseline: Variant, candidate: Variant, args: argparse.Namespace) -> tuple[Variant, Variant]:
    """Both variants with how to reach them: headers of one side replace those of the same name for both.

    Raises:
        UsageError: certificates, and neither target is encrypted; or a header that is given twice.
    """
    first, second = reach((baseline.target, candidate.target), access_of(args))
    return (
        replace(baseline, target=first.with_headers(read_headers(args.baseline_header))),
        replace(candidate, target=second.with_headers(read_headers(args.candidate_header))),
    )


def refuse_live_options(args: argparse.Namespace) -> None:
    """Refuses options that have no effect on stored runs.

    Only those on the command line: settings of a variable or the file are defaults for all gates.

    Raises:
        UsageError: any is given.
    """
    given = sorted(args.given & live_options())
    if given:
        names = ", ".join(f"--{name}" for name in given)
        verb, them = ("has", "it") if len(given) == 1 else ("have", "them")
        raise UsageError(f"{names} {verb} no effect on stored runs, which were made before; leave {them} out")
