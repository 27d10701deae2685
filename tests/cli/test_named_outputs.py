"""Options that name a file for output: what they lead to, and what they must not overwrite."""

import io
import shutil
from pathlib import Path

import pytest

from bench.cli import main

EXAMPLES = Path(__file__).parents[2] / "results" / "example"


def call(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main([str(word) for word in words], out, err)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "rest", tmp_path / "run"))


COMMANDS = [
    *((("report", "{run}", "--out", "{here}/report"), option) for option in ("--junit", "--markdown")),
    (("capacity", "plan", "{sweep}", "--plan", "rate=100/s"), "--out"),
    (("capacity", "simulate", "{sweep}", "--rate", "50/s", "--duration", "10s", "--replicas", "2"), "--out"),
]


@pytest.mark.parametrize(("words", "option"), COMMANDS)
def test_a_link_is_followed(words: tuple[str, ...], option: str, run: Path, tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    given = [word.format(run=run, here=tmp_path, sweep=EXAMPLES / "capacity") for word in words]
    code, _, err = call(*given, option, link)
    assert (code, err, link.is_symlink(), target.is_file()) == (0, "", True, True)
