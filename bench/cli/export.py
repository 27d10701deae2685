"""`bertbench export`: a checkpoint through the Estimator into `MODEL_DIR/<version>/`."""

import argparse
from typing import Annotated, TextIO

from msgspec import Meta

from bench.bert.contract.golden import FixedExport
from bench.bert.contract.masked_requests import FixedShape
from bench.bert.contract.sentence_limits import SentenceLimits
from bench.bert.tf_logging import limit_tensorflow_log
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.core.errors import ExitCode, UsageError


class ExportDocument(Document, frozen=True, kw_only=True):
    """A version of a model that was exported."""

    command: str = "export"
    version_dir: str
    source: Annotated[str, Meta(description="the checkpoint")]
    precision: str
    sentences: Annotated[int, Meta(description="sentences with golden answers")]
    left_out: Annotated[int, Meta(description="sentences of the package that do not fit the model")]
    difference: Annotated[
        float, Meta(description="largest |Δ log p| between SavedModel and Estimator, which is float32")
    ]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Exports.

    Raises:
        UsageError: bad input or options.
        WrongAnswerError: the SavedModel does not give the Estimator's answers.
    """
    if args.out.exists() and not args.out.is_dir():
        raise UsageError(f"{args.out} is not a folder; give one for the versions")
    limit_tensorflow_log()
    from bench.bert.checkpoints.resolve import open_checkpoint
    from bench.bert.export.export import ExportOptions, export_model
    from bench.bert.export.golden_sentences import default_golden_sentences, read_golden_sentences

    fixed = _fixed_export(args)
    if fixed is not None and args.top_k is not None:
        raise UsageError("--fixed-length makes the article's export, which has no likeliest words; leave out --top-k")
    checkpoint = open_checkpoint(args.checkpoint, args.init_head, args.lower_case)
    limits = SentenceLimits.of(checkpoint.config.max_pieces, fixed)
    left_out = 0
    if args.sentences is not None:
        sentences = read_golden_sentences(args.sentences, checkpoint.tokenizer, limits)
    else:
        sentences, known = default_golden_sentences(checkpoint.tokenizer, limits)
        left_out = known - len(sentences)
    of_all = (
        f" ({left_out} of the package's {left_out + len(sentences)} do not fit and are left out)" if left_out else ""
    )
    note = f"exporting {checkpoint.source}, golden answers of {len(sentences)} sentences{of_all}"
    print(note, file=out.progress, flush=True)
    result = export_model(
        checkpoint, args.out, sentences, ExportOptions(fixed, args.version, args.precision, args.top_k or 0)
    )
    against = "" if args.precision == "float32" else f", {args.precision} against float32"
    document = ExportDocument(
        version_dir=str(result.version_dir),
        source=str(checkpoint.source),
        precision=args.precision,
        sentences=len(sentences),
        left_out=left_out,
        difference=result.difference,
    )
    differ = f"  SavedModel and Estimator differ by {result.difference:.1e} in log p at most{against}"
    out.result(document, f"{result.version_dir}\n{differ}", str(result.version_dir))
    return ExitCode.OK


def _fixed_export(args: argparse.Namespace) -> FixedExport | None:
    """The fixed shapes that are asked for, the article's where only one is given; None for free dimensions."""
    given = {"length": args.fixed_length, "max_predictions": args.max_predictions}
    given = {name: value for name, value in given.items() if value is not None}
    if given:
        return FixedExport(FixedShape(**given), args.article_output or "prob")
    if args.article_output is not None:
        raise UsageError("--article-output belongs to --fixed-length")
    return None
