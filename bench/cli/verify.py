"""`bertbench verify`: served probabilities against the Estimator's, all signatures, both protocols."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, TextIO

from msgspec import Meta, Struct

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import GoldenSentence
from bench.bert.contract.preflight import INVALID
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.model_server import exported_model, running_server
from bench.cli.common.options import target_of
from bench.core.errors import ExitCode, TargetError, UsageError
from bench.core.shown_path import shown_path
from bench.server.running import RunningServer
from bench.server.verification import Verified, verify
from bench.serving.errors import Rejected


class DifferenceValue(Struct, frozen=True, kw_only=True):
    """The largest difference between the answers over one way and the Estimator's."""

    protocol: str
    signature: str
    batch_size: Annotated[int, Meta(description="sentences in a request")]
    difference: Annotated[float | None, Meta(description="|Δ log p| of a word; null where an answer is not finite")]
    sentence: Annotated[int, Meta(description="number of the golden sentence, from 1")]
    word: str


class VerificationValue(Struct, frozen=True, kw_only=True):
    """A server's answers against the Estimator's."""

    verdict: Literal["PASS", "WRONG"]
    tolerance: Annotated[float, Meta(description="largest |Δ log p| of a word that passes")]
    sentences: int
    words: int
    reference: Annotated[str, Meta(description="folder of the export with the Estimator's answers")]
    largest: DifferenceValue
    ways: Annotated[Sequence[DifferenceValue], Meta(description="by protocol, signature and batch size")]


class VerifyDocument(Document, frozen=True, kw_only=True):
    """Served probabilities against the Estimator's."""

    command: str = "verify"
    verification: VerificationValue


WRONG_LINE: Final = (
    "bertbench: answers differ from the Estimator's; if the server holds another model, name its export with "
    "--model-dir"
)


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Prints the largest difference by protocol, signature and batch size, and where it is.

    Returns:
        0, or 1 if an answer lies outside the tolerance.

    Raises:
        UsageError: bad options or an unreadable model folder.
        TargetError: the server does not answer.
    """
    # Options that have no effect are refused before a model is read or made.
    target_of(args)
    model = exported_model(args)
    with running_server(args, model) as server:
        found = verify_server(server, model, out, args.sentences, args.tolerance, args.timeout)
    code, line = (ExitCode.OK, None) if found.verdict == "PASS" else (ExitCode.REGRESSION, WRONG_LINE)
    text = verdict_line(found)
    out.result(VerifyDocument(verification=found, exit_code=code, message=line), text, text.strip())
    if line is not None:
        print(line, file=err)
    return code


def _ways(
    server: RunningServer, model: ExportedModel, golden: Sequence[GoldenSentence], timeout: float
) -> Iterator[Verified]:
    """`verify`, with the most frequent cause of its requests' being refused."""
    try:
        yield from verify(server, model, golden, timeout)
    except Rejected as error:
        if error.code not in INVALID:
            raise
        raise TargetError(
            f"the server refuses the golden sentences of {shown_path(model.version_dir)}; if it holds another model, "
            f"name its export with --model-dir ({error})"
        ) from error


def verify_server(
    server: RunningServer,
    model: ExportedModel,
    out: CommandOutput,
    sentences: int | None = None,
    tolerance: float | None = None,
    timeout: float = 60.0,
) -> VerificationValue:
    """Verifies a running server, and prints a part of the result for each way; see `run`."""
    golden = model.golden.sentences[:sentences]
    if not golden:
        raise UsageError("the golden file has no sentence to check; export with --sentences FILE.tsv")
    tolerance = model.golden.tolerance if tolerance is None else tolerance
    words = sum(entry.sentence.num_words for entry in golden)
    out.part(f"   {len(golden)} sentences, {words} words; the Estimator's answers from {shown_path(model.version_dir)}")
    ways: list[Verified] = []
    for way in _ways(server, model, golden, timeout):
        difference = way.difference
        name = f"{way.protocol} {way.signature}, batch {way.batch_size}"
        out.part(f"   {name:<32} max |Δ log p| {difference.value:.2e}  {_where(difference.sentence, difference.word)}")
        ways.append(way)
    worst = max(ways, key=lambda way: way.difference.value)
    return VerificationValue(
        verdict="PASS" if worst.difference.value <= tolerance else "WRONG",
        tolerance=tolerance,
        sentences=len(golden),
        words=words,
        reference=str(model.version_dir),
        largest=_value(worst),
        ways=list(map(_value, ways)),
    )


def verdict_line(found: VerificationValue) -> str:
    """`PASS: largest |Δ log p| 6.68e-06 (tolerance 0.0001) in sentence 78, word '.'`."""
    largest = found.largest
    return (
        f"   {found.verdict}: largest |Δ log p| {largest.difference:.2e} (tolerance {found.tolerance:g}) "
        f"{_where(largest.sentence, largest.word)}"
    )


def _value(way: Verified) -> DifferenceValue:
    return DifferenceValue(
        protocol=way.protocol,
        signature=way.signature,
        batch_size=way.batch_size,
        difference=way.difference.value,
        sentence=way.difference.sentence,
        word=way.difference.word,
    )


def _where(sentence: int, word: str) -> str:
    return f"in sentence {sentence}, word {word!r}"
