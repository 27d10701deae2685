"""Output that its stream cannot hold: degraded, never an error, for every encoding and command."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.core.output import ESCAPED, LEGIBLE, accept_all, fit_locale, reader_left, to_json
from bench.load.selftest.null_server import null_server
from bench.results.run_reader import find_runs
from bench.server.running import RunningServer
from tests.support.signalled_commands import BERTBENCH, ROOT, locust
from tests.support.synthetic_runs import WORKLOAD, simulate, write_run
from tests.support.toy_golden import toy_golden, write_model_dir

ENVIRONMENTS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "ascii, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def call(name: str, *words: object) -> tuple[int, str, str]:
    """A command under an environment; what it says is read byte by byte, as every encoding's."""
    inherited = {key: text for key, text in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        [os.fsencode(str(word)) for word in words],
        capture_output=True,
        check=False,
        env={**inherited, **ENVIRONMENTS[name]},
        cwd=ROOT,
        timeout=120,
    )
    out, err = done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
    assert "Traceback" not in out + err, err
    assert "Logging error" not in err
    assert name == "latin-1" or (out + err).isascii()
    return done.returncode, out, err


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("results")
    workloads = {name: replace(WORKLOAD, seed=seed) for seed, name in enumerate(("one", "other"))}
    return [write_run(root, simulate(workload=load), workload=load, slug=name).path for name, load in workloads.items()]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose answers all differ."""
    golden = toy_golden()
    others = tuple(replace(entry, log_prob=entry.log_prob - 0.5) for entry in golden.sentences)
    with null_server(write_model_dir(tmp_path_factory.mktemp("other"), replace(golden, sentences=others))) as found:
        yield found["rest"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_figures_and_intervals(name: str, runs: list[Path]) -> None:
    code, out, _ = call(name, *BERTBENCH, "compare", *runs)
    assert code == 0
    assert ("us" in out) or ("ms" in out)
    assert "..." in out


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_names_that_are_stored_and_shown(name: str, runs: list[Path], tmp_path: Path) -> None:
    """A label in UTF-8 is stored as what it is, whatever the locale, and shown as far as it can be."""
    store = tmp_path / "store"
    assert call(name, *BERTBENCH, "baseline", "add", runs[0], "--label", "Größe 😀", "--store", store)[0] == 0
    (index,) = (path for path in store.iterdir() if path.suffix == ".json")
    assert "Größe 😀" in index.read_text(encoding="utf-8")
    code, out, _ = call(name, *BERTBENCH, "baseline", "list", "--store", store)
    assert code == 0
    assert ("Größe \\ud83d\\ude00" if name == "latin-1" else "Gr\\u00f6\\u00dfe \\ud83d\\ude00") in out


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_messages(name: str, tmp_path: Path) -> None:
    code, out, err = call(name, *BERTBENCH, "score", tmp_path / "nö.tsv")
    assert (code, out) == (2, "")
    assert err.startswith("bertbench: no file ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["ascii", "C"])
def test_a_run_and_its_stored_command(name: str, model_dir: Path, wrong: str, tmp_path: Path) -> None:
    given = ["--model-dir", model_dir, "--target", wrong, "--no-preflight", "--duration", "1s"]
    given += ["--users", 4, "--out", tmp_path / "rüns"]
    code, out, err = call(name, *BERTBENCH, "run", "rest", *given, "--arrivals", "constant:rate=50")
    assert code == 1, err
    assert "..." in out or "drift" in out
    (run,) = find_runs([tmp_path / "rüns"])
    assert str(tmp_path / "rüns") in run.manifest.command


def test_locust_with_a_log_file_and_csv(model_dir: Path, wrong: str, tmp_path: Path) -> None:
    given = ["--headless", "--host", wrong, "--no-preflight", "--model-dir", model_dir, "-t", "1s"]
    given += ["--results", tmp_path / "rüns"]
    given += ["-u", 4, "--warmup", "0.5ms", "--logfile", tmp_path / "lög", "--csv", tmp_path / "stats"]
    code, _, err = call("C", *locust(), *given)
    assert code == 1, err
    assert "500 us of it" in (tmp_path / "lög").read_text(encoding="ascii")
    assert "wrong_answer: drift" in (tmp_path / "stats_failures.csv").read_text(encoding="ascii")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_scores_stay_what_they_are(
    name: str, demo_server: RunningServer, demo_model: ExportedModel, tmp_path: Path
) -> None:
    """JSON that another program reads: the same words, escaped."""
    text = tmp_path / "text.tsv"
    text.write_text("Déjà vu … “again” 😀!\n", encoding="utf-8")
    words = ["score", text, "--target", demo_server.rest, "--format", "json"]
    code, out, err = call(name, *BERTBENCH, *words)
    assert code == 0, err
    done = subprocess.run([*BERTBENCH, *map(str, words)], capture_output=True, check=True, cwd=ROOT)
    assert json.loads(out) == json.loads(done.stdout)


@pytest.mark.parametrize(
    ("text", "legible", "escaped"),
    [
        ("870 µs", "870 us", "870 \\u00b5s"),
        ("7.1 … 8.2", "7.1 ... 8.2", "7.1 \\u2026 8.2"),
        ("N = X·R ±2 × 3 ≤ 7 → 9", "N = X*R +-2 x 3 <= 7 -> 9", "N = X\\u00b7R \\u00b12 \\u00d7 3 \\u2264 7 \\u2192 9"),
        ("é😀", "\\u00e9\\ud83d\\ude00", "\\u00e9\\ud83d\\ude00"),
        ("\udcff", "\\udcff", "\\udcff"),
    ],
)
def test_characters_that_do_not_fit(text: str, legible: str, escaped: str) -> None:
    assert text.encode("ascii", LEGIBLE).decode() == legible
    assert text.encode("ascii", ESCAPED).decode() == escaped
    if "\udcff" not in text:
        assert json.loads(f'"{escaped}"') == text
    for errors, expected in ((LEGIBLE, legible), (ESCAPED, escaped)):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, "ascii", "strict")
        accept_all(stream, errors)
        stream.write(text)
        stream.flush()
        assert raw.getvalue().decode() == expected


def test_what_the_locale_can_hold_stays() -> None:
    assert fit_locale("plain") == "plain"
    assert fit_locale("µ") in ("µ", "u")


def test_words_that_the_locale_could_not_read_are_stored_as_utf_8() -> None:
    broken = os.fsencode("Größe").decode("ascii", "surrogateescape")
    assert orjson.loads(to_json({"label": broken, "words": [broken, "\udcff", 3]})) == {
        "label": "Größe",
        "words": ["Größe", "\\xff", 3],
    }
    assert to_json({"a": 1}) == b'{"a":1}'


def test_a_reader_that_left() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        assert not reader_left(stream)
        os.close(reader)
        assert reader_left(stream)
    assert not reader_left(io.StringIO())
    assert not reader_left(None)


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_are_closed(redirection: str, runs: list[Path]) -> None:
    command = f"{sys.executable} -m bench compare {runs[0]} {runs[1]} {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_stream_that_is_read_back_shows_bytes_that_are_no_text() -> None:
    assert b"from C \xff\xfe!".decode("utf-8", LEGIBLE) == "from C \\xff\\xfe!"
