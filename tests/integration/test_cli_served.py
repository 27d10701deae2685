"""`score`, `verify` and `serve` as a user calls them, on the demo model and the embedded server."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import FixedExport, Golden
from bench.bert.contract.masked_requests import FixedShape
from bench.cli import main
from bench.cli.common import model_server
from bench.server import lifecycle
from bench.server.lifecycle import RunningServer, embedded
from bench.server.running import free_ports
from bench.serving.target import Target, TargetKind

pytestmark = pytest.mark.long(40)


def call(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(words, out, err), out.getvalue(), err.getvalue()


def target(server: RunningServer, protocol: str) -> str:
    return f"--target={server.rest if protocol == 'rest' else f'grpc://{server.grpc}'}"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Three sentences with blank lines between them, a byte order mark and a carriage return."""
    path = tmp_path / "text.tsv"
    path.write_bytes("\ufeffThe cat sat on the mat.\n\n   \nDéjà vu, “again”!\r\nYes.\n".encode())
    return path


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize("signature", ["score", "serving_default"])
def test_served_scores_are_the_golden_ones(
    demo_server: RunningServer, demo_model: ExportedModel, protocol: str, signature: str, tmp_path: Path
) -> None:
    golden = demo_model.golden.sentences[::8]
    path = tmp_path / "golden.tsv"
    path.write_text("".join(entry.sentence.text + "\n" for entry in golden))
    code, out, err = call(
        "score", str(path), target(demo_server, protocol), f"--signature={signature}", "--format=jsonl"
    )
    assert (code, err) == (0, "")
    for line, entry in zip(out.splitlines(), golden, strict=True):
        probs = [piece["prob"] for word in json.loads(line)["words"] for piece in word["pieces"]]
        assert np.log(probs) == pytest.approx(entry.log_prob, abs=1e-4)


def test_blank_lines_are_skipped_and_keep_the_numbering(demo_server: RunningServer, text: Path) -> None:
    code, out, _ = call("score", str(text), target(demo_server, "grpc"))
    assert code == 0
    rows = [line.split("\t") for line in out.splitlines()]
    assert [(row[0], row[1], row[2]) for row in rows][:2] == [("1", "1", "the"), ("1", "2", "cat")]
    assert sorted({row[0] for row in rows}) == ["1", "4", "5"]
    assert all(0 < float(row[3]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file"),
        (b"", "holds no sentence"),
        (b"\n \n", "holds no sentence"),
        (b"Fine.\nNot \xff fine.\n", "input.tsv line 2 is not UTF-8"),
        (b"Fine.\n\n" + b"word " * 400, "input.tsv line 3 has 4"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    demo_server: RunningServer, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "input.tsv"
    if content is not None:
        path.write_bytes(content)
    code, _, err = call("score", str(path), target(demo_server, "grpc"))
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_bad_line_of_standard_input_says_where_it_is_from(
    demo_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Fine.\n" + b"word " * 400)))
    code, _, err = call("score", "-", target(demo_server, "grpc"))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "standard input line 2 has 4" in err


def test_long_sentences_are_scored_in_windows(demo_server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "long.tsv"
    path.write_text("the old house by the river was empty " * 40)
    code, out, _ = call("score", str(path), target(demo_server, "grpc"), "--long=window")
    assert code == 0
    assert len(out.splitlines()) == 320


def test_a_killed_score_goes_on_and_ends_with_the_same_bytes(demo_server: RunningServer, tmp_path: Path) -> None:
    """The process is killed while it writes; with --resume the file becomes that of an undisturbed run."""
    path = tmp_path / "many.tsv"
    path.write_text("".join(f"The {word} number {number} is here.\n" for number in range(3000) for word in ("old",)))
    whole, broken = tmp_path / "whole.json", tmp_path / "broken.json"
    words = ["score", str(path), target(demo_server, "grpc"), "--format=json"]
    assert call(*words, f"--out={whole}")[0] == 0
    process = subprocess.Popen([sys.executable, "-m", "bench", *words, f"--out={broken}"])
    try:
        journal = broken.with_name("broken.json.progress")
        while process.poll() is None and not (journal.exists() and json.loads(journal.read_bytes())["items"] > 512):
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    assert broken.stat().st_size < whole.stat().st_size
    text, so_far = path.read_text(), broken.read_bytes()
    for changed in (text.replace("number 7 ", "number seven "), "One line more.\n" + text):
        path.write_text(changed)
        code, _, err = call(*words, f"--out={broken}", "--resume")
        assert (code, len(err.splitlines())) == (2, 1)
        assert f"{path} has changed since {broken} was begun" in err
    path.write_text(text)
    code, _, err = call(*words[:-1], f"--out={broken}", "--resume")
    assert (code, broken.read_bytes()) == (2, so_far)
    assert "--format was 'json', now 'tsv'" in err
    assert call(*words, f"--out={broken}", "--resume")[0] == 0
    assert broken.read_bytes() == whole.read_bytes()
    assert call(*words, f"--out={broken}", "--resume")[0] == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["broken.json", "many.tsv", "whole.json"]


def write_export(folder: Path, like: ExportedModel, golden: Golden) -> Path:
    """A folder with the tokenizer of an export and other golden answers."""
    shutil.copytree(like.version_dir / "assets", folder / "1" / "assets")
    (folder / "1" / "assets.extra").mkdir()
    (folder / "1" / "assets.extra" / "golden.json").write_bytes(golden.to_json())
    return folder


@pytest.fixture
def other_model(demo_model: ExportedModel, tmp_path: Path) -> Path:
    """The demo model's files with answers of their own, as an export with another activation has them."""
    entries = [replace(entry, log_prob=entry.log_prob - 1) for entry in demo_model.golden.sentences]
    return write_export(tmp_path / "other", demo_model, replace(demo_model.golden, sentences=tuple(entries)))


def test_a_sentence_longer_than_the_fixed_length_is_named(
    demo_server: RunningServer, demo_model: ExportedModel, tmp_path: Path
) -> None:
    golden = replace(demo_model.golden, fixed=FixedExport(FixedShape(8, 2), "prob"))
    model, path = write_export(tmp_path / "fixed", demo_model, golden), tmp_path / "text.tsv"
    path.write_text("The cat sat on the mat.\n")
    words = ("score", str(path), f"--model-dir={model}", "--no-preflight")
    for protocol in ("rest", "grpc"):
        code, _, err = call(*words, target(demo_server, protocol))
        assert (code, len(err.splitlines())) == (2, 1)
        assert "text.tsv line 1 has 7 WordPieces and --fixed-length 8 takes 6; shorten it" in err


def test_a_score_of_another_model_is_not_resumed(
    demo_server: RunningServer, demo_model: ExportedModel, other_model: Path, tmp_path: Path
) -> None:
    """A second model on the page counts as the first one does; so does the name by which a server knows it."""
    path, page = tmp_path / "text.tsv", tmp_path / "scores.html"
    path.write_text("Yes.\n" * 512 + "No. " * 300)
    words = ("score", str(path), target(demo_server, "grpc"), "--format=html", f"--out={page}")
    ours, other = str(demo_model.model_dir), str(other_model)
    code, _, err = call(*words, "--model-dir", ours, "--compare-with", ours)
    assert (code, "text.tsv line 513 has 600 WordPieces" in err) == (2, True)
    path.write_text("Yes.\n" * 513)
    so_far = page.read_bytes()
    for options, changed in (
        (("--model-dir", other, "--compare-with", ours), "model was 'sha256:"),
        (("--model-dir", ours, "--compare-with", other), "--compare-with was "),
        (("--model-dir", ours, "--compare-with", ours, "--model-name=b"), "--model-name was 'bert', now 'b'"),
    ):
        code, _, err = call(*words, *options, "--resume")
        assert (code, len(err.splitlines()), page.read_bytes()) == (2, 1, so_far)
        assert changed in err
    assert call(*words, "--model-dir", ours, "--compare-with", ours, "--resume")[0] == 0


def test_a_page_of_two_models(
    demo_server: RunningServer, demo_model: ExportedModel, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is on a server that is started here, here the first one again; the first one's headers are not its."""
    opened: list[tuple[Target, Path | None]] = []

    @contextlib.contextmanager
    def open_target(found: Target, model_dir: Path | None, *options: Any) -> Iterator[RunningServer]:
        opened.append((found, model_dir))
        with lifecycle.open_target(found, model_dir, *options) if found.remote else nullcontext(demo_server) as server:
            yield server

    monkeypatch.setattr(model_server, "open_target", open_target)
    words = ("score", str(text), target(demo_server, "grpc"), "--header=x-key:secret", "--compare-with")
    page = text.with_name("scores.html")
    code, _, err = call(*words, str(demo_model.model_dir), "--format=html", f"--out={page}")
    assert (code, err) == (0, "")
    assert [(found.kind, found.access.headers.names) for found, _ in opened] == [
        (TargetKind.GRPC, ("x-key",)),
        (TargetKind.EMBEDDED, ()),
    ]
    assert opened[1][1] == demo_model.model_dir
    shown = page.read_text()
    assert "<b>A</b> the demo model" in shown
    assert f"<b>B</b> {demo_model.model_dir}" in shown
    assert shown.count("<section>") == 3
    assert shown.count("<td>1</td>") > 10, "equal models have the ratio 1"
    code, _, err = call(*words, str(demo_model.model_dir), f"--out={page}")
    assert (code, err.count("--format html")) == (2, 1)


def test_verify_passes_on_both_protocols_and_says_where(demo_server: RunningServer) -> None:
    for protocol in ("rest", "grpc"):
        code, out, _ = call("verify", target(demo_server, protocol), "--sentences=30")
        assert code == 0
        found = re.search(r"PASS: largest \|Δ log p\| (\S+) .* in sentence \d+, word '", out)
        assert found is not None
        assert float(found[1]) <= 1e-4


def test_verify_on_a_target_of_ours_covers_both_signatures_and_protocols() -> None:
    code, out, _ = call("verify", "--sentences=3")
    assert code == 0
    for way in ("grpc score", "grpc serving_default", "rest score", "rest serving_default"):
        assert out.count(way) == 2


def test_verify_finds_another_model(demo_model: ExportedModel, tmp_path: Path) -> None:
    """A server with other weights of the same shape: exit 1, and the option to name the export is named."""
    other, few = tmp_path / "other", tmp_path / "few.tsv"
    few.write_text("A few words.\n")
    code, _, err = call("export", "--checkpoint=tiny", f"--out={other}", f"--sentences={few}")
    assert code == 0, err
    with embedded(other) as server:
        code, out, err = call("verify", target(server, "grpc"), f"--model-dir={demo_model.model_dir}", "--sentences=3")
    assert code == 1
    assert "WRONG" in out
    assert "--model-dir" in err


def test_a_target_that_does_not_answer_is_exit_4(text: Path) -> None:
    (port,) = free_ports(1)
    for words in (["verify"], ["score", str(text)]):
        code, _, err = call(*words, f"--target=http://127.0.0.1:{port}")
        assert code == 4
        assert len(err.splitlines()) == 1


def test_a_finished_output_stays_until_the_target_has_answered(text: Path) -> None:
    (port,) = free_ports(1)
    scores = text.with_name("scores.tsv")
    scores.write_text("finished\n")
    code, _, _ = call("score", str(text), f"--target=grpc://127.0.0.1:{port}", f"--out={scores}")
    assert (code, scores.read_text()) == (4, "finished\n")
    assert sorted(path.name for path in text.parent.iterdir()) == ["scores.tsv", "text.tsv"]


def test_serve_until_a_signal(demo_model: ExportedModel) -> None:
    grpc_port, rest_port = free_ports(2)
    words = ["serve", str(demo_model.model_dir), f"--grpc-port={grpc_port}", f"--rest-port={rest_port}"]
    command = [sys.executable, "-m", "bench", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown = [process.stdout.readline() for _ in range(3)]
        url = shown[1].split()[-1]
        assert shown[2].split()[-1] == f"127.0.0.1:{grpc_port}"
        with urllib.request.urlopen(url, timeout=120) as answer:
            assert json.load(answer)["model_version_status"][0]["state"] == "AVAILABLE"
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 4
        assert len(second.stderr.splitlines()) == 1
        assert "in use" in second.stderr
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(120) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "bertbench: interrupted by SIGINT\n"


def test_serve_names_a_folder_without_a_version(tmp_path: Path) -> None:
    code, _, err = call("serve", str(tmp_path))
    assert code == 2
    assert "no version folder" in err
