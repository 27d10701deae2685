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


FLEET = ("--rate", "50/s", "--duration", "10s", "--replicas", "2")
COMMANDS = [
    *((("report", "{run}", "--out", "{here}/report"), option) for option in ("--junit", "--markdown")),
    (("capacity", "plan", "{sweep}", "--plan", "rate=100/s"), "--out"),
    (("capacity", "simulate", "{sweep}", *FLEET), "--out"),
]


@pytest.mark.parametrize(("words", "option"), COMMANDS)
def test_a_link_is_followed(words: tuple[str, ...], option: str, run: Path, tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    given = [word.format(run=run, here=tmp_path, sweep=EXAMPLES / "capacity") for word in words]
    code, _, err = call(*given, option, link)
    assert (code, err, link.is_symlink(), target.is_file()) == (0, "", True, True)


GATE = ("gate", "--baseline", "{run}", "--candidate", "{run}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("report", "{run}", "--markdown", "{run}/run.json"), "run.json is a file of a stored run"),
        (("report", "{run}", "--junit", "{link}/requests.parquet"), "requests.parquet is a file of a stored run"),
        (("report", "{run}", "--markdown", "{run}/report.md"), "--markdown would overwrite {run}/report.md"),
        (("report", "{run}", "--junit", "{link}/server.png"), "--junit would overwrite {link}/server.png"),
        (
            ("report", "{run}", "{other}", "--out", "{empty}", "--junit", "{empty}/metrics.png"),
            "--junit would overwrite {empty}/metrics.png",
        ),
        (
            ("report", "{run}", "--markdown", "{here}/v", "--junit", "{empty}/../v"),
            "--markdown and --junit both name {empty}/../v; name another file for one of them",
        ),
        (
            ("report", "{run}", "--out", "{here}/r2", "--markdown", "{here}/r2"),
            "--markdown names {here}/r2, which is or becomes a folder; name a file",
        ),
        (("report", "{run}", "--out", "{here}/r2/r3", "--markdown", "{here}/r2"), "which is or becomes a folder"),
        (("run", "rest", "--out", "{here}/r2", "--junit", "{here}/r2"), "which is or becomes a folder"),
        (("run", "rest", "--markdown", "{here}/v", "--junit", "{here}/v"), "both name {here}/v"),
        ((*GATE, "--json", "{here}/v", "--markdown", "{here}/v"), "--markdown and --json both name {here}/v"),
        ((*GATE, "--html", "{here}/v", "--junit", "{here}/v"), "--html and --junit both name {here}/v"),
        ((*GATE, "--out", "{here}/r2", "--junit", "{here}/r2"), "which is or becomes a folder"),
        ((*GATE, "--json", "{run}/run.json"), "run.json is a file of a stored run"),
        (
            ("capacity", "plan", "{sweep}", "--plan", "rate=1/s", "--out", "{sweep}/model.json"),
            "--out would overwrite {sweep}/model.json",
        ),
        (
            ("capacity", "plan", "{sweep}", "--plan", "rate=1/s", "--out", "{sweep}/sweep.json"),
            "--out would overwrite {sweep}/sweep.json",
        ),
        (
            ("capacity", "plan", "{sweep}", "--diurnal", "{day}", "--out", "{here}/day.csv"),
            "--out would overwrite {here}/day.csv",
        ),
        (
            ("capacity", "plan", "{sweep}", "--diurnal", "{here}/plan.md.tmp", "--out", "{here}/plan.md"),
            "--out is written to {here}/plan.md.tmp first, which is needed too; name another file",
        ),
        (
            ("report", "{run}", "--markdown", "{here}/v", "--junit", "{here}/v.tmp"),
            "--markdown is written to {here}/v.tmp first",
        ),
        (
            (
                "capacity",
                "simulate",
                "{sweep}",
                "--rate",
                "50/s",
                "--duration",
                "9s",
                "--replicas",
                "1",
                "--out",
                "{sweep}/model.json",
            ),
            "{sweep}/model.json",
        ),
    ],
)
def test_what_would_be_overwritten_is_refused_before_anything_is_written(
    words: tuple[str, ...], line: str, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "other")
    (tmp_path / "sweep").mkdir()
    for name in ("model.json", "sweep.json"):
        shutil.copy(EXAMPLES / "capacity" / name, tmp_path / "sweep")
    for name in ("day.csv", "plan.md.tmp"):
        (tmp_path / name).write_text("time,rate\n00:00,10\n12:00,50\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(run)
    names = (
        {name: tmp_path / name for name in ("other", "sweep", "empty", "link")}
        | {"day": tmp_path / "day.csv"}
        | {"run": run, "here": tmp_path}
    )
    before = files(tmp_path)
    code, _, err = call(*(word.format(**names) for word in words))
    assert (code, len(err.splitlines())) == (2, 1)
    assert line.format(**names) in err
    assert files(tmp_path) == before


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_devices_and_pipes_overwrite_nothing(run: Path, tmp_path: Path) -> None:
    """Both files of verdicts into one open file."""
    with (tmp_path / "output").open("wb", buffering=0) as output:
        path = f"/dev/fd/{output.fileno()}"
        code, _, err = call("report", run, "--out", tmp_path / "report", "--junit", path, "--markdown", path)
    assert (code, err) == (0, "")
    junit, markdown = (tmp_path / "output").read_text().split("</testsuites>")
    assert junit.startswith("<?xml")
    assert "VALID" in markdown
