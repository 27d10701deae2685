"""`bertbench config`: what it shows and what it refuses."""

import io
import json
import re
from pathlib import Path

import pytest

from bench.cli import main
from bench.config.names import known_names
from bench.config.sources import FILE_VARIABLE

ROOT = Path(__file__).parents[2]

FILE = """
users = 16
seed = 3
[run]
duration = "10s"
arrivals = ["closed", "poisson:rate=5"]
headers = "authorization: Bearer top; x-team: env:TEAM; x-key: @key.txt"
[gate.calibrate]
gates = 4
[locust]
host = "http://localhost:8501"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(words.split(), out, err), out.getvalue(), err.getvalue()


def rows(text: str) -> dict[str, list[str]]:
    """By option: the cells after it."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith("  ")}


def test_a_command_s_options_are_shown_with_their_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bertbench.toml").write_text(FILE)
    monkeypatch.setenv("BERTBENCH_RUN_REPEAT", "5")
    code, out, err = call("config show run")
    assert (code, err) == (0, "")
    assert out.startswith("bertbench run\n")
    found = rows(out)
    assert found["users"] == ["16", "users", "in", "bertbench.toml"]
    assert found["duration"] == ["10s", "duration", "in", "[run]", "of", "bertbench.toml"]
    assert found["repeat"] == ["5", "BERTBENCH_RUN_REPEAT"]
    assert found["out"] == ["results", "default"]
    assert found["padded"] == ["false", "default"]
    assert '["closed", "poisson:rate=5"]' in out
    assert "gates" not in found


def test_header_values_are_never_shown() -> None:
    Path("bertbench.toml").write_text(FILE)
    code, out, _ = call("config show run")
    assert code == 0
    assert "authorization: <redacted>; x-team: env:TEAM; x-key: @key.txt" in out
    assert "top" not in out.split()


@pytest.mark.parametrize(
    ("option", "given", "shown"),
    [
        ("header", ["a: secret", "b:env:NAME"], ["a: <redacted>", "b:env:NAME"]),
        ("baseline-header", ["a: secret"], ["a: <redacted>"]),
        ("candidate-header", "a: secret", ["a: <redacted>"]),
        ("headers", "a: secret; b:@file", "a: <redacted>; b:@file"),
        ("headers", "secret", "<redacted>"),
        ("baseline", "http://user:secret@host:8501", "http://<redacted>"),
        ("candidate", "http://host:8501/v1?key=secret", "http://host:8501/v1<redacted>"),
    ],
)
def test_no_credential_is_in_the_document(option: str, given: object, shown: object) -> None:
    Path("bertbench.toml").write_text(f"[gate]\n{option} = {json.dumps(given)}\n")
    code, out, err = call("config show gate --json")
    assert (code, err) == (0, "")
    (found,) = [entry for entry in json.loads(out)["options"] if entry["option"] == option]
    assert (found["value"], found["origin"]) == (shown, "file")
    assert "secret" not in out


def test_without_a_command_all_that_is_set_is_shown() -> None:
    Path("other.toml").write_text(FILE)
    code, out, _ = call("config show --config other.toml")
    assert code == 0
    assert "bertbench gate calibrate\n  gates" in out
    assert "default" not in out
    assert call("config show") == (0, "no file, no variable: nothing is set\n", "")


def test_good_settings_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bertbench.toml").write_text(FILE)
    monkeypatch.setenv("BERTBENCH_USERS", "4")
    monkeypatch.setenv("BERTBENCH_TOKEN", "secret")
    monkeypatch.setenv("TEAM", "search")
    Path("key.txt").write_text("key")
    code, out, err = call("config check")
    assert (code, err) == (0, "")
    assert out == "not options: BERTBENCH_TOKEN\nbertbench.toml, 1 variable: no faults\n"


def test_each_fault_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("my.toml").write_text('usrs = 1\n[run]\nduration = "10"\n[locust]\nhots = "x"\n')
    monkeypatch.setenv("BERTBENCH_RUN_DRAIN", "x")
    code, out, err = call("config check my.toml")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "bertbench: usrs in my.toml: unknown option; did you mean users?",
        "bertbench: hots in [locust] of my.toml: Locust has no such option; did you mean host?",
        "bertbench: duration in [run] of my.toml: '10' is a duration without a unit; write 10ms or 10s (also m, h)",
        "bertbench: BERTBENCH_RUN_DRAIN: 'x' is not a duration; write it like 250ms, 30s, 5m or 1m30s",
    ]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("config show rnu", "unknown command 'rnu'; did you mean run?"),
        ("config show gate calibrat", "unknown command 'gate calibrat'; did you mean gate calibrate?"),
        ("config check none.toml", "cannot open none.toml: the file or folder does not exist"),
        ("config show --config none.toml", "cannot open none.toml"),
    ],
)
def test_what_cannot_be_shown_is_one_line(words: str, reason: str) -> None:
    code, out, err = call(words)
    assert (code, out) == (2, "")
    assert err.startswith(f"bertbench: {reason}")
    assert err.count("\n") == 1


def test_a_setting_reaches_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTBENCH_BASELINE_STORE", "elsewhere")
    assert call("baseline list") == (0, "elsewhere holds no baseline yet\n", "")
    assert call("baseline list --store here") == (0, "here holds no baseline yet\n", "")


@pytest.mark.parametrize("page", ["guide/configuration.md", "reference/configuration.md"])
def test_the_examples_of_the_pages_have_no_faults(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    examples = re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    for example in examples:
        Path("bertbench.toml").write_text(example)
        assert call("config check") == (0, "bertbench.toml, 0 variables: no faults\n", "")
    for variable in re.findall(r"(?<!\w)BERTBENCH_\w+", text):
        assert variable in known_names().variables() | {FILE_VARIABLE}
    assert examples or "reference" in page
