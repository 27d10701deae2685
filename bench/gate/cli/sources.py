"""What `--baseline` and `--candidate` name: a target, a model folder, stored runs, or a store of baselines."""

import argparse
from dataclasses import replace
from pathlib import Path

from bench.bert.contract.model_folder import is_version, latest_version
from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.common.options import access_of
from bench.core.errors import UsageError
from bench.core.output import unicode_text
from bench.gate.cli.arguments.gate import live_options
from bench.gate.spec import Variant
from bench.gate.stored_runs import StoredRuns, read_stored_runs
from bench.serving.headers import read_headers
from bench.serving.target import Target, TargetKind, parse_target, reach


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
    text = unicode_text(text)
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
