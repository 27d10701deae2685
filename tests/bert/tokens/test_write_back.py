"""What training and exporting write of a tokenizer is the tokenizer."""

import dataclasses
import json
from pathlib import Path

import orjson
import pytest
from safetensors.numpy import save_file

from bench.bert.checkpoints.huggingface import to_hugging_face
from bench.bert.checkpoints.resolve import open_checkpoint
from bench.bert.checkpoints.variables import fresh_variables
from bench.bert.contract.exported_model import ExportedModel
from bench.bert.demo import default_sentences
from bench.bert.export.export import ExportOptions, export_model
from bench.bert.text.tokenizer import Tokenizer
from bench.bert.training.training import Evaluation, train
from bench.bert.training.training_config import TrainingConfig
from bench.cli import main
from tests.bert.conftest import small_config
from tests.bert.tokens.table import SIZE, Setting, fast, special_tokens, token

ENTITY = token("<ent>", SIZE)
# One with all that Google's layout alone cannot hold, one of Google's own with another word limit, one of plain files.
FOLDERS = {
    "fast": Setting(
        "", refused=None, **fast(model={"max_input_chars_per_word": 7}, added_tokens=[*special_tokens(), ENTITY])
    ),
    "slow": Setting("", {"strip_accents": False, "added_tokens_decoder": {str(SIZE): token("<ent>")}}),
    "google": Setting("", {"do_lower_case": True, "max_input_chars_per_word": 7}),
}
TEXT = "a<ent>b [MASK] aaaaaaaa café [PAD][SEP] [CLS]"


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A checkpoint folder of random weights."""
    path = tmp_path / "checkpoint"
    FOLDERS[request.param].write(path)
    config = dataclasses.replace(small_config(), vocab_size=SIZE + 1)
    google = request.param == "google"
    fields = dataclasses.asdict(config) | ({} if google else {"model_type": "bert"})
    (path / "config.json").unlink()
    (path / ("bert_config.json" if google else "config.json")).write_bytes(orjson.dumps(fields))
    variables = fresh_variables(config, 1)
    if google:
        from bench.bert.checkpoints.google import PREFIX, write_variables  # type: ignore[attr-defined]

        write_variables(path / PREFIX, variables)
    else:
        save_file(to_hugging_face(variables), path / "model.safetensors")
    return path


class Witness:
    """Keeps the digest that the folder has when training begins."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.digest = ""

    def started(self, step: int, steps: int, trained: int, held_out: int) -> None:
        self.digest = Tokenizer.from_folder(self.out).digest

    def stepped(self, step: int, loss: float, pieces: int) -> None:
        pass

    def evaluated(self, evaluation: Evaluation) -> None:
        pass


def test_training_writes_the_whole_tokenizer_back(folder: Path, tmp_path: Path) -> None:
    before, out = open_checkpoint(folder).tokenizer, tmp_path / "more"
    witness = Witness(out)
    train(default_sentences(), out, TrainingConfig(checkpoint=str(folder), steps=1, evaluations=1), witness)
    after = open_checkpoint(out).tokenizer
    assert after.digest == before.digest == witness.digest
    assert after.encode(TEXT) == before.encode(TEXT)
    assert after.options == before.options


def test_an_export_keeps_the_whole_tokenizer(folder: Path, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(folder)
    sentence = checkpoint.tokenizer.encode(TEXT)
    result = export_model(checkpoint, tmp_path / "model", [sentence], ExportOptions())
    model = ExportedModel.open(tmp_path / "model")
    assert model.tokenizer.digest == checkpoint.tokenizer.digest
    assert model.golden.sentences[0].sentence == model.tokenizer.encode(TEXT) == sentence
    assert json.loads(json.dumps(model.golden.tokenizer)) == checkpoint.tokenizer.describe()
    written = {path.name for path in (result.version_dir / "assets").iterdir()}
    assert written >= {"vocab.txt", "tokenizer_config.json"}
    assert ("tokenizer.json" in written) == (not checkpoint.tokenizer.parts.google)


@pytest.mark.parametrize("command", ["export", "train"])
def test_a_setting_that_is_not_supported_ends_a_command_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    folder, out = tmp_path / "checkpoint", tmp_path / "out"
    Setting("", {"tokenizer_class": "BertJapaneseTokenizer"}).write(folder)
    config = dataclasses.replace(small_config(), vocab_size=SIZE)
    (folder / "config.json").write_bytes(orjson.dumps(dataclasses.asdict(config) | {"model_type": "bert"}))
    save_file(to_hugging_face(fresh_variables(config, 1)), folder / "model.safetensors")
    text = [str(default_sentences())] if command == "train" else []
    assert main([command, *text, "--checkpoint", str(folder), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "tokenizer_config.json: tokenizer_class" in line
    assert "BertJapaneseTokenizer" in line
    assert not out.exists()
