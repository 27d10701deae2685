"""The batching parameters that the Compose files and the guide name carry the loads that the suite sends."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.cli import main
from bench.results.run_reader import find_runs
from bench.server.embedded.config.model_config import read_batching_parameters
from bench.server.lifecycle import RunningServer, embedded
from tests.support.pages import GUIDE, ROOT, blocks

FILE: Final = ROOT / "docker/serving/batching_parameters.txt"
FLAGS: Final = ("--enable_batching=true", f"--batching_parameters_file={FILE}")
# Sentences of 128 pieces at most, 16 of them in verify's largest request.
MOST_ROWS: Final = 16 * 128


@pytest.fixture(scope="module")
def server(demo_model: ExportedModel) -> Iterator[RunningServer]:
    with embedded(demo_model.model_dir, flags=FLAGS) as running:
        yield running


def call(*words: str) -> tuple[int, str]:
    out = io.StringIO()
    return main(words, out, out), out.getvalue()


def test_sentences_of_any_length_share_a_batch_and_large_requests_are_split() -> None:
    found = read_batching_parameters(FILE)
    assert found.pad_variable_length_inputs
    assert found.enable_large_batch_splitting
    assert found.max_batch_size >= MOST_ROWS
    # A request that is larger than the queue would be refused by an idle server too.
    assert found.max_enqueued_batches * found.batch_limit >= found.max_batch_size


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_verify_has_its_answers(server: RunningServer, demo_model: ExportedModel, protocol: str) -> None:
    target = server.rest if protocol == "rest" else f"grpc://{server.grpc}"
    code, out = call("verify", "--model-dir", str(demo_model.model_dir), "--target", target)
    assert code == 0, out


@pytest.mark.parametrize("sentences", ["1", "32"])
def test_a_load_of_mixed_sentences_is_answered(
    server: RunningServer, demo_model: ExportedModel, tmp_path: Path, sentences: str
) -> None:
    words = ["--model-dir", str(demo_model.model_dir), "--target", f"grpc://{server.grpc}", "--quiet"]
    words += ["--duration", "3s", "--warmup", "1s", "--users", "8", "--out", str(tmp_path)]
    _, out = call("run", "grpc", *words, "--sentences-per-request", sentences)
    (run,) = find_runs([tmp_path])
    counts = {outcome for outcome, count in run.file.counts.items() if count}
    assert counts == {"ok"}, out


def test_documented_commands_that_batch_name_the_file() -> None:
    batching = [block for page in GUIDE for block in blocks(page, "sh", "console") if "enable_batching" in block.text]
    assert batching
    for block in batching:
        for words in block.commands():
            if any("enable_batching" in word for word in words):
                named = re.findall(r"-flag=--batching_parameters_file=(\S+)", " ".join(words))
                assert [ROOT / name for name in named] == [FILE], block.text
