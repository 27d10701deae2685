"""What an export leaves on disk, that every reference scorer answers as the Estimator does, and what it refuses."""

import dataclasses
import io
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from bench.bert.checkpoints.google import write_google_folder
from bench.bert.checkpoints.resolve import open_checkpoint
from bench.bert.checkpoints.types import Checkpoint
from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import FixedExport
from bench.bert.contract.masked_requests import (
    ARTICLE_SIGNATURE,
    COMPACT_SIGNATURE,
    TOP_K_SIGNATURE,
    FixedShape,
    article_inputs,
    compact_inputs,
)
from bench.bert.contract.sentence_limits import SentenceLimits
from bench.bert.export import export
from bench.bert.export.article_export import export_by_prediction
from bench.bert.export.export import TOLERANCE, ExportOptions, export_model
from bench.bert.export.golden_sentences import default_golden_sentences
from bench.bert.export.warmup_requests import FILE_NAME as WARMUP
from bench.bert.graph.reference_scorers import (
    ColdPredict,
    EstimatorModel,
    PredictGenerator,
    ReferenceScorer,
    SavedModelFunction,
    SavedModelSession,
    open_estimator,
)
from bench.bert.graph.signatures import ARTICLE_INPUTS, ROW_INPUTS
from bench.cli import main
from bench.core.errors import BenchError, UsageError, WrongAnswerError, one_line
from bench.serving.protos import prediction_log_pb2
from bench.serving.tensors import from_proto
from tests.bert.conftest import SENTENCES, encode
from tests.bert.test_model import assert_same, mixed, oracle_answers
from tests.support.json_documents import document

pytestmark = pytest.mark.long(70)

SHAPE = FixedShape(40, 9)

SCORERS: dict[str, Callable[[ExportedModel], ReferenceScorer]] = {
    "cold predict": lambda model: ColdPredict(EstimatorModel.of_export(model)),
    "cold predict, padded": lambda model: ColdPredict(EstimatorModel.of_export(model), SHAPE),
    "predict generator": lambda model: PredictGenerator(EstimatorModel.of_export(model)),
    "session, score": lambda model: SavedModelSession(model.version_dir, model.golden.special),
    "session, article": lambda model: SavedModelSession(model.version_dir, model.golden.special, ARTICLE_SIGNATURE),
    "function, score": lambda model: SavedModelFunction(model.version_dir, model.golden.special),
    "function, article": lambda model: SavedModelFunction(model.version_dir, model.golden.special, ARTICLE_SIGNATURE),
}


def signature_defs(version_dir: Path) -> Any:
    saved = saved_model_pb2.SavedModel.FromString((version_dir / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0].signature_def


def shape(info: Any) -> list[int]:
    return [dim.size for dim in info.tensor_shape.dim]


def answers(model: ExportedModel) -> list[Any]:
    return [entry.log_prob for entry in model.golden.sentences]


def test_both_signatures_are_as_documented(exported: ExportedModel) -> None:
    found = signature_defs(exported.version_dir)
    assert set(found) == {ARTICLE_SIGNATURE, COMPACT_SIGNATURE}
    article, compact = found[ARTICLE_SIGNATURE], found[COMPACT_SIGNATURE]
    assert {name: shape(info) for name, info in article.inputs.items()} == {name: [-1, -1] for name in ARTICLE_INPUTS}
    ranks = {"token_ids": [-1, -1], "word_ids": [-1, -1], "num_pieces": [-1]}
    assert {name: shape(info) for name, info in compact.inputs.items()} == ranks
    assert {name: shape(info) for name, info in article.outputs.items()} == {"log_prob": [-1, -1], "prob": [-1, -1]}
    assert {name: shape(info) for name, info in compact.outputs.items()} == {"log_prob": [-1, -1]}
    for definition in (article, compact):
        assert definition.method_name == "tensorflow/serving/predict"
        for name, info in definition.inputs.items():
            assert info.name == f"{name}:0", "a placeholder carries its alias"
            assert info.dtype == tf.int32.as_datatype_enum


def test_what_travels_with_a_model(exported: ExportedModel, checkpoint: Checkpoint) -> None:
    version = exported.version_dir
    assert {path.name for path in version.iterdir()} == {"saved_model.pb", "variables", "assets", "assets.extra"}
    assert (version / "assets" / "vocab.txt").read_text().split() == list(checkpoint.tokenizer.vocabulary)
    golden = exported.golden
    assert golden.checkpoint_digest == checkpoint.digest
    assert (golden.precision, golden.precision_shift, golden.tolerance) == ("float32", 0.0, TOLERANCE)
    assert golden.max_pieces == checkpoint.config.max_position_embeddings - 2
    assert tuple(entry.sentence.text for entry in golden.sentences) == SENTENCES
    assert exported.tokenizer.digest == checkpoint.tokenizer.digest


def test_golden_answers_are_berts(exported: ExportedModel, checkpoint: Checkpoint) -> None:
    assert_same(answers(exported), oracle_answers(checkpoint, encode()))


def test_warm_up_requests_can_be_answered(exported: ExportedModel) -> None:
    path = exported.version_dir / "assets.extra" / WARMUP
    records = tf.compat.v1.io.tf_record_iterator(str(path))
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert {request.model_spec.signature_name for request in requests} == {ARTICLE_SIGNATURE, COMPACT_SIGNATURE}
    loaded = tf.saved_model.load(str(exported.version_dir))
    for request in requests:
        inputs = {alias: tf.constant(from_proto(value)) for alias, value in request.inputs.items()}
        assert {int(value.shape[0]) for value in inputs.values()} == {1}, "a server may allow no larger batch"
        output = loaded.signatures[request.model_spec.signature_name](**inputs)["log_prob"]
        assert np.isfinite(output.numpy()).all()


@pytest.mark.parametrize("name", SCORERS)
def test_every_reference_scorer_gives_the_golden_answers(name: str, exported: ExportedModel) -> None:
    """One by one and all together, and a batch of 64 of any length."""
    sentences = encode()
    together = mixed(64)
    with SavedModelSession(exported.version_dir, exported.golden.special) as reference:
        expected = reference.score(together)
    with SCORERS[name](exported) as scorer:
        assert_same(scorer.score(sentences), answers(exported))
        single = sentences[:2] if "cold" in name else sentences
        assert_same([scorer.score([sentence])[0] for sentence in single], answers(exported)[: len(single)])
        if "padded" not in name:
            assert_same(scorer.score(together), expected)


def test_a_long_lived_predict_takes_turns(exported: ExportedModel) -> None:
    sentences = encode() * 5
    with PredictGenerator(EstimatorModel.of_export(exported)) as scorer, ThreadPoolExecutor(4) as pool:
        given = list(pool.map(lambda sentence: scorer.score([sentence])[0], sentences))
    assert_same(given, answers(exported) * 5)


def test_a_long_lived_predict_that_was_never_asked_ends(exported: ExportedModel) -> None:
    generator = PredictGenerator(EstimatorModel.of_export(exported))
    generator.close()
    assert "predict" not in {thread.name.partition("_")[0] for thread in threading.enumerate()}
    with pytest.raises(RuntimeError, match="shutdown"):
        generator.score(encode()[:1])


def test_a_long_lived_predict_survives_nothing_but_says_why(tmp_path: Path, exported: ExportedModel) -> None:
    model = EstimatorModel.of_export(exported)
    broken = EstimatorModel(model.config, tmp_path / "none", model.special)
    with PredictGenerator(broken) as scorer, pytest.raises(Exception, match="none"):
        scorer.score(encode()[:1])


@pytest.mark.parametrize("output", ["prob", "nll"])
def test_the_articles_export_to_the_letter(output: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    fixed = FixedExport(SHAPE, output)
    result = export_model(checkpoint, tmp_path, encode(), ExportOptions(fixed=fixed))
    found = signature_defs(result.version_dir)
    assert set(found) == {ARTICLE_SIGNATURE}
    widths = {name: [-1, 40 if name in ROW_INPUTS else 9] for name in ARTICLE_INPUTS}
    assert {name: shape(info) for name, info in found[ARTICLE_SIGNATURE].inputs.items()} == widths
    assert {name: shape(info) for name, info in found[ARTICLE_SIGNATURE].outputs.items()} == {"output": [-1, 9]}
    model = ExportedModel.open(tmp_path)
    assert model.golden.fixed == fixed
    assert_same(answers(model), oracle_answers(checkpoint, encode()))
    loaded = tf.saved_model.load(str(model.version_dir)).signatures[ARTICLE_SIGNATURE]
    inputs = article_inputs(encode()[:1], model.golden.special, SHAPE)
    first = loaded(**{name: tf.constant(value) for name, value in inputs.items()})["output"][0, 0].numpy()
    expected = answers(model)[0][0]
    assert first == pytest.approx(np.exp(expected) if output == "prob" else -expected, abs=1e-5)
    with SavedModelFunction(model.version_dir, model.golden.special, fixed=fixed) as scorer:
        assert_same(scorer.score(encode()), answers(model))


def test_a_sentence_that_does_not_fit_the_fixed_shape_is_named(checkpoint: Checkpoint, tmp_path: Path) -> None:
    for tight, named in ((FixedShape(8, 9), "the cat sat"), (FixedShape(40, 2), "unbeliev")):
        with pytest.raises(UsageError, match=named):
            export_model(checkpoint, tmp_path, encode(), ExportOptions(fixed=FixedExport(tight, "prob")))
    assert not any(tmp_path.iterdir())


def test_bfloat16_keeps_the_shift_it_made(checkpoint: Checkpoint, tmp_path: Path) -> None:
    result = export_model(checkpoint, tmp_path, encode(), ExportOptions(precision="bfloat16"))
    model = ExportedModel.open(tmp_path)
    golden = model.golden
    assert golden.precision == "bfloat16"
    assert 1e-3 < golden.precision_shift == result.difference < golden.tolerance
    assert_same(answers(model), oracle_answers(checkpoint, encode()), TOLERANCE)
    kernel = tf.train.load_variable(
        str(model.version_dir / "variables" / "variables"), "bert/encoder/layer_0/output/dense/kernel"
    )
    assert kernel.dtype == tf.bfloat16
    with pytest.raises(BenchError, match="float32"):
        open_estimator(model)


def test_the_articles_way_gives_the_same_model(checkpoint: Checkpoint, exported: ExportedModel, tmp_path: Path) -> None:
    special = exported.golden.special
    sentences = encode()
    inputs = article_inputs(sentences[:1], special) | compact_inputs(sentences[:1])
    made = export_by_prediction(EstimatorModel.of_export(exported), tmp_path, inputs)
    assert signature_defs(made).keys() == signature_defs(exported.version_dir).keys()
    for signature in (ARTICLE_SIGNATURE, COMPACT_SIGNATURE):
        with SavedModelSession(made, special, signature) as session:
            assert_same(session.score(sentences), answers(exported), 1e-5)
    for name, value in checkpoint.variables.items():
        np.testing.assert_array_equal(tf.train.load_variable(str(made / "variables" / "variables"), name), value)


def test_a_name_that_is_no_version_is_passed_over(tmp_path: Path) -> None:
    for name in ("²", "٣", "9223372036854775808", "x"):
        (tmp_path / name).mkdir()
    assert export._free_version(tmp_path, None) == tmp_path / "1"


def test_no_version_follows_the_last(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "9223372036854775807").mkdir()
    with pytest.raises(UsageError, match="holds version 9223372036854775807, the last there is; .* --version"):
        export_model(checkpoint, tmp_path, encode()[:2], ExportOptions())
    assert export._free_version(tmp_path, 5) == tmp_path / "5"


def test_versions_count_up_and_appear_whole(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "not-a-version").mkdir()
    (tmp_path / "00000006").mkdir()
    seen: dict[str, bool] = {}
    stop = threading.Event()

    def poll() -> None:
        while not stop.wait(0.002):
            for folder in tmp_path.iterdir():
                if folder.name.isdigit() and folder.name not in seen:
                    files = ("saved_model.pb", "assets.extra/golden.json", f"assets.extra/{WARMUP}", "assets/vocab.txt")
                    seen[folder.name] = all((folder / name).is_file() for name in files)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        result = export_model(checkpoint, tmp_path, encode()[:2], ExportOptions())
    finally:
        stop.set()
        poller.join()
    assert result.version_dir == tmp_path / "7"
    assert {path.name for path in tmp_path.iterdir()} == {"not-a-version", "00000006", "7"}
    seen.setdefault("7", True)
    assert seen == {"00000006": False, "7": True}
    with pytest.raises(UsageError, match="version 7 already"):
        export_model(checkpoint, tmp_path, encode()[:1], ExportOptions(version=7))


@pytest.mark.parametrize(
    ("precision", "error"), [("float32", 2e-4), ("float32", float("nan")), ("bfloat16", float("nan"))]
)
def test_a_model_that_gives_other_answers_is_not_published(
    precision: str,
    error: float,
    checkpoint: Checkpoint,
    exported: ExportedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The export itself is a copy of a finished one, to be quick; its session answers wrongly."""
    score = SavedModelSession.score
    monkeypatch.setattr(SavedModelSession, "score", lambda self, given: [log + error for log in score(self, given)])
    monkeypatch.setattr(export, "_export", lambda _, __, folder, ___: shutil.copytree(exported.version_dir, folder))
    with pytest.raises(WrongAnswerError, match="nothing was exported"):
        export_model(checkpoint, tmp_path, encode()[:1], ExportOptions(precision=precision))
    assert not any(tmp_path.iterdir())


def test_a_failure_to_write_is_one_line(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device\nmore")

    monkeypatch.setattr(export, "write_variables", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        export_model(checkpoint, tmp_path, encode()[:1], ExportOptions())
    assert one_line(caught.value).startswith(f"cannot write {tmp_path}: no space left on the device; ")
    assert not any(tmp_path.iterdir())


def run(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main([str(word) for word in words], out, err), out.getvalue(), err.getvalue()


def test_the_command_exports(checkpoint: Checkpoint, tmp_path: Path) -> None:
    write_google_folder(tmp_path / "checkpoint", checkpoint)
    (tmp_path / "lines.tsv").write_text("the cat sat\n\nthe dog ran .\n")
    words = ("export", "--checkpoint", tmp_path / "checkpoint", "--out", tmp_path / "model")
    code, out, err = run(*words, "--sentences", tmp_path / "lines.tsv")
    assert (code, out.splitlines()[0]) == (0, str(tmp_path / "model" / "1"))
    assert "2 sentences" in err
    assert b"top_k" not in (tmp_path / "model" / "1" / "assets.extra" / "golden.json").read_bytes()
    code, out, err = run(*words, "--sentences", tmp_path / "lines.tsv", "--json", "--top-k", "3")
    found = document(out, "export")
    assert (code, found["version_dir"], found["sentences"]) == (0, str(tmp_path / "model" / "2"), 2)
    assert 0 <= found["difference"] < 1e-3
    model = ExportedModel.open(tmp_path / "model")
    assert [entry.sentence.text for entry in model.golden.sentences] == ["the cat sat", "the dog ran ."]
    assert model.golden.top_k == 3
    assert_top_k_adds_a_signature(model)


def assert_top_k_adds_a_signature(model: ExportedModel) -> None:
    """And changes no other; its requests are among those of the warm-up."""
    found = signature_defs(model.version_dir)
    assert set(found) == {ARTICLE_SIGNATURE, COMPACT_SIGNATURE, TOP_K_SIGNATURE}
    assert set(found[COMPACT_SIGNATURE].outputs) == {"log_prob"}
    outputs = {name: shape(info) for name, info in found[TOP_K_SIGNATURE].outputs.items()}
    assert outputs == {"log_prob": [-1, -1], "top_ids": [-1, -1, 3], "top_log_prob": [-1, -1, 3]}
    warmup = (model.version_dir / "assets.extra" / WARMUP).read_bytes()
    assert warmup.count(TOP_K_SIGNATURE.encode()) == 3


@pytest.mark.parametrize(
    ("options", "lines", "message"),
    [
        (["--checkpoint", "none"], None, "no checkpoint folder none"),
        ([], "the cat\n" + "the " * 39 + "\n", "line 2 has 39 WordPieces and the model takes 38"),
        ([], "the cat\n\n\u200b\u200b\n", "line 3 has no word"),
        ([], "", "no sentence"),
        (["--sentences", "missing.tsv"], None, "missing.tsv"),
        (["--version", "-1"], "the cat\n", "--version"),
        (["--article-output", "nll"], "the cat\n", "--fixed-length"),
        (["--fixed-length", "4"], "the cat\nthe cat sat\n", "line 2 has 3 WordPieces and --fixed-length 4 takes 2"),
        (["--max-predictions", "1", "--fixed-length", "9"], "a\nthe cats\n", "line 2 has a word of 2 WordPieces"),
        (["--fixed-length", "3"], None, "none of the package's 242 sentences fits: the shortest has"),
        (["--fixed-length", "0"], "the cat\n", "--fixed-length"),
        (["--fixed-length", "9", "--top-k", "5"], "the cat\n", "leave out --top-k"),
        (["--top-k", "28"], "the cat\n", "--top-k 28 of a vocabulary of 27; give fewer"),
        (["--fixed-length", "41"], "the cat\n", "40 positions"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(
    options: list[str], lines: str | None, message: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    write_google_folder(tmp_path / "checkpoint", checkpoint)
    words = ["export", "--checkpoint", tmp_path / "checkpoint", "--out", tmp_path / "model", *options]
    if lines is not None:
        (tmp_path / "lines.tsv").write_text(lines)
        words += ["--sentences", tmp_path / "lines.tsv"]
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not (tmp_path / "model" / "1").exists()


def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("export", "--checkpoint", "demo", "--out", tmp_path / "file")
    assert (code, "not a folder" in err) == (2, True)


@pytest.mark.parametrize("letter", ["*", "?", "[", "\\"])
def test_a_folder_whose_name_tensorflow_takes_for_a_pattern(
    letter: str, checkpoint: Checkpoint, exported: ExportedModel, tmp_path: Path
) -> None:
    out = tmp_path / f"model{letter}1]"
    with pytest.raises(UsageError, match="for a pattern; rename the folder"):
        export_model(checkpoint, out, encode(), ExportOptions())
    assert not out.exists()
    shutil.copytree(exported.model_dir, out)
    with pytest.raises(UsageError, match="for a pattern; rename the folder"):
        open_estimator(ExportedModel.open(out))


def test_the_packages_sentences_fit_the_demo_and_the_presets() -> None:
    for name in ("demo", "tiny"):
        checkpoint = open_checkpoint(name)
        limits = SentenceLimits.of(checkpoint.config.max_pieces, None)
        fitting, known = default_golden_sentences(checkpoint.tokenizer, limits)
        assert len(fitting) == known >= 200


@pytest.mark.parametrize("options", [[], ["--fixed-length", "12"], ["--fixed-length", "16", "--max-predictions", "1"]])
def test_of_the_packages_sentences_those_that_fit_are_taken(
    options: list[str], checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """By a model of few positions, and by shapes that are fixed to less than the model has."""
    positions = checkpoint.config.max_position_embeddings if options else 10
    table = "bert/embeddings/position_embeddings"
    small = Checkpoint(
        dataclasses.replace(checkpoint.config, max_position_embeddings=positions),
        checkpoint.tokenizer,
        {**checkpoint.variables, table: checkpoint.variables[table][:positions]},
        "small",
    )
    write_google_folder(tmp_path / "checkpoint", small)
    code, _, err = run("export", "--checkpoint", tmp_path / "checkpoint", "--out", tmp_path / "model", *options)
    assert code == 0
    golden = ExportedModel.open(tmp_path / "model").golden
    longest = max(entry.sentence.num_pieces for entry in golden.sentences)
    assert longest == (int(options[1]) if options else positions) - 2
    left_out = 242 - len(golden.sentences)
    assert f"{len(golden.sentences)} sentences ({left_out} of the package's 242 do not fit and are left out)" in err
