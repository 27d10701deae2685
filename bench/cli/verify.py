"""`bertbench verify`: served probabilities against the Estimator's, all signatures, both protocols."""

import argparse
from typing import TextIO

from bench.bert.contract.exported_model import ExportedModel
from bench.cli.common.options import add_target_options, exported_model, running_server
from bench.cli.common.values import DURATION, number, whole
from bench.core.errors import ExitCode, UsageError
from bench.server.running import RunningServer
from bench.server.verification import Difference, verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    add_target_options(parser)
    parser.add_argument(
        "--tolerance", type=number(0, 100), help="largest |Δ log p| of a word (default: the golden file's)"
    )
    parser.add_argument(
        "--sentences", type=whole(), metavar="N", help="check the first N golden sentences (default: all)"
    )
    parser.add_argument("--timeout", type=DURATION, default=60.0, help="for one request (default: 60s)")


def run(args: argparse.Namespace, out: TextIO, err: TextIO) -> int:
    """Prints the largest difference by protocol, signature and batch size, and where it is.

    Returns:
        0, or 1 if an answer lies outside the tolerance.

    Raises:
        UsageError: bad options or an unreadable model folder.
        TargetError: the server does not answer.
    """
    model = exported_model(args)
    with running_server(args, model) as server:
        return verify_server(server, model, out, err, args.sentences, args.tolerance, args.timeout)


def verify_server(
    server: RunningServer,
    model: ExportedModel,
    out: TextIO,
    err: TextIO,
    sentences: int | None = None,
    tolerance: float | None = None,
    timeout: float = 60.0,
) -> int:
    """Verifies a running server and prints the result; see `run`."""
    golden = model.golden.sentences[:sentences]
    if not golden:
        raise UsageError("the golden file has no sentence to check; export with --sentences FILE.tsv")
    tolerance = model.golden.tolerance if tolerance is None else tolerance
    words = sum(entry.sentence.num_words for entry in golden)
    print(f"   {len(golden)} sentences, {words} words; the Estimator's answers from {model.version_dir}", file=out)
    found: list[Difference] = []
    for result in verify(server, model, golden, timeout):
        difference = result.difference
        name = f"{result.protocol} {result.signature}, batch {result.batch_size}"
        print(f"   {name:<32} max |Δ log p| {difference.value:.2e}  {_where(difference)}", file=out, flush=True)
        found.append(difference)
    worst = max(found, key=lambda difference: difference.value)
    passed = worst.value <= tolerance
    verdict = "PASS" if passed else "WRONG"
    print(f"   {verdict}: largest |Δ log p| {worst.value:.2e} (tolerance {tolerance:g}) {_where(worst)}", file=out)
    if not passed:
        print(
            "bertbench: answers differ from the Estimator's; if the server holds another model, name its export with "
            "--model-dir",
            file=err,
        )
    return ExitCode.OK if passed else ExitCode.REGRESSION


def _where(found: Difference) -> str:
    return f"in sentence {found.sentence}, word {found.word!r}"
