"""The base installation, without TensorFlow and the other extras: what it does, and how it refuses the rest."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.golden import read_golden
from bench.bert.demo.client_files import CLIENT_FOLDER, FILES
from bench.core.errors import UsageError
from bench.core.extras import missing_extra, require
from bench.server.lifecycle import RunningServer

pytestmark = pytest.mark.long(55)

# A path entry whose modules cannot be imported, as in an installation without the extras.
EXTRAS = ("tensorflow", "tensorflow_serving", "grpc_health", "ml_dtypes", "safetensors", "tokenizers", "pandas")
WITHOUT = f"""
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
def hidden(name, path=None, target=None):
    return None if name.partition(".")[0] in {EXTRAS!r} else find(name, path, target)
importlib.machinery.PathFinder.find_spec = staticmethod(hidden)
"""


def bertbench(*words: str, folder: Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """A command in a process that has no extras; its own processes have none either."""
    customize = folder / "site"
    customize.mkdir(exist_ok=True)
    (customize / "sitecustomize.py").write_text(WITHOUT)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(customize), "HOME": str(folder)}
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, env=environment, cwd=folder, timeout=300, check=False
    )


def test_load_reports_and_verdicts_need_no_extra(demo_server: RunningServer, tmp_path: Path) -> None:
    """The demo model's golden answers come with the package, so that a server that holds it can be driven at once."""
    assert demo_server.rest is not None
    for scenario, target in (("rest", demo_server.rest), ("grpc", f"grpc://{demo_server.grpc}")):
        done = bertbench("run", scenario, "--target", target, "--duration", "2s", "--warmup", "1s", folder=tmp_path)
        assert " ok" in done.stdout, done.stderr
        assert "wrong" not in done.stdout
    words = ("verify", "--target", f"grpc://{demo_server.grpc}", "--sentences", "20")
    done = bertbench(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = [str(path) for path in sorted((tmp_path / "results").iterdir())]
    assert bertbench("report", *runs, folder=tmp_path).returncode == 0
    assert bertbench("compare", runs[0], runs[1], "--anyway", folder=tmp_path).returncode == 0
    both = ("--baseline", f"grpc://{demo_server.grpc}", "--candidate", f"grpc://{demo_server.grpc}")
    done = bertbench("gate", *both, "--warmup", "1s", "--max-time", "9s", folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "error ratio" in done.stdout


CURE = "which is not installed; run: pip install 'bertbench[{}]'"
REFUSED = {
    "embedded": (("run", "rest"), "the embedded server needs tensorflow", "model"),
    "serve": (("serve", str(CLIENT_FOLDER)), "the embedded server needs tensorflow", "model"),
    "demo": (("demo",), "the demo needs tensorflow", "model"),
    "export": (("export", "--checkpoint", "demo", "--out", "x"), "this needs tensorflow", "model"),
    "train": (("train", "text", "--out", "x", "--preset", "tiny"), "this needs tensorflow", "model"),
    "score": (("score", "--target", "grpc://127.0.0.1:1", "-"), "needs tokenizers", "score"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_an_extra_says_so_in_one_line(case: str, tmp_path: Path) -> None:
    words, said, extra = REFUSED[case]
    (tmp_path / "text").write_text("A sentence.\n" * 40)
    done = bertbench(*words, folder=tmp_path, stdin="A sentence.\n")
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert said in line
    assert CURE.format(extra) in line


def test_frames_need_pandas(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "results" / "example" / "rest"
    code = f"{WITHOUT}\nfrom bench import api\nprint(api.read_run({str(example)!r}).summary() is not None)\n"
    code += f"api.read_run({str(example)!r}).frame()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n"
    assert "UsageError: a frame needs pandas" in done.stderr
    assert CURE.format("frame") in done.stderr


def test_other_imports_that_fail_are_not_taken_for_extras() -> None:
    assert missing_extra(ModuleNotFoundError("x", name="bench.nothing")) is None
    assert missing_extra(ModuleNotFoundError("x", name="tensorflow.python")) is not None
    require("tensorflow", "this test")
    with pytest.raises(UsageError, match=r"a test needs no_such_package, which is not installed"):
        require("no_such_package", "a test")


def test_the_package_s_demo_is_that_of_the_export(demo_model: ExportedModel) -> None:
    """`make demo-client` is due when this fails: the checkpoint or the sentences changed."""
    ours, exported = read_golden(CLIENT_FOLDER).golden, demo_model.golden
    assert ours.checkpoint_digest == exported.checkpoint_digest
    assert ours.tokenizer == exported.tokenizer
    assert [entry.sentence for entry in ours.sentences] == [entry.sentence for entry in exported.sentences]
    for mine, theirs in zip(ours.sentences, exported.sentences, strict=True):
        np.testing.assert_allclose(mine.log_prob, theirs.log_prob, rtol=0, atol=exported.tolerance)
    for name in FILES[1:]:
        assert (CLIENT_FOLDER / "1" / name).read_bytes() == (demo_model.version_dir / name).read_bytes()
