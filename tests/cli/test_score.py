"""What `bertbench score --resume` takes for the same job, and what `--out` must not overwrite."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cli.dispatch import full_parser
from bench.cli.score import _job, _open_output
from bench.core.errors import UsageError

TLS = Path(__file__).parents[1] / "load" / "tls"


def job(*words: str) -> dict[str, Any]:
    args = full_parser().parse_args(["score", "text.tsv", "--target", "https://h:1", *words])
    side: Any = SimpleNamespace(identity={"model": "sha256:0"})
    return _job(args, [side])


def test_a_client_s_certificate_may_choose_the_model() -> None:
    """A file begun with one certificate went on with another, as it does not with another header."""
    plain, key = job(), ("--client-key", str(TLS / "server.key"))
    one, other = (job("--client-cert", str(TLS / name), *key) for name in ("server.pem", "ca.pem"))
    assert one == {**plain, "--client-cert": str((TLS / "server.pem").resolve())}
    assert one != other
    assert job("--header", "X-Model: a") == {**plain, "--header": ("X-Model",)}
    # These do not say who asks, nor for what.
    assert (
        job("--ca-cert", str(TLS / "ca.pem"), "--timeout", "9s", "--in-flight", "3", "--ready-timeout", "9s") == plain
    )


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("scores", "--out would overwrite "),
        ("scores.progress", "the journal of --out would overwrite "),
        ("scores.progress.tmp", "the journal of --out is written to "),
    ],
)
def test_neither_the_output_nor_its_journal_takes_the_input_s_place(given: str, line: str, tmp_path: Path) -> None:
    text = tmp_path / given
    text.write_text("A sentence.\n")
    words = ["score", str(text), "--target", "https://h:1", "--out", str(tmp_path / "scores")]
    side: Any = SimpleNamespace(identity={"model": "sha256:0"})
    nothing: Any = None
    with pytest.raises(UsageError, match=f"^{line}{text}"):
        _open_output(full_parser().parse_args(words), [side], nothing, nothing)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {given: "A sentence.\n"}


def test_an_output_that_is_written_where_it_stands_may_have_the_input_s_name_without_tmp(tmp_path: Path) -> None:
    text = tmp_path / "scores.tmp"
    text.write_text("A sentence.\n")
    words = ["score", str(text), "--target", "https://h:1", "--out", str(tmp_path / "scores")]
    side: Any = SimpleNamespace(identity={"model": "sha256:0"})
    nothing: Any = None
    _open_output(full_parser().parse_args(words), [side], nothing, nothing).close()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"scores.tmp": "A sentence.\n"}
