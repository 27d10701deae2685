"""Where a scenario's options and Locust's own come from under plain Locust, and which wins."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from bench.core.units import parse_duration
from bench.load.locust_adapter.header_options import GIVEN_HEADERS
from bench.load.locust_adapter.options import make_spec, read_target
from bench.load.setup.catalog import SCENARIOS
from bench.load.setup.run_context import VARIABLE
from bench.load.setup.run_spec import RunSpec
from tests.support.locust_process import ROOT, environment

# Parses command lines as Locust does; each request and each answer is a line.
SCRIPT = """
import contextlib, io, json, os, runpy, sys
import locust.argument_parser
runpy.run_path(sys.argv[1])
for line in sys.stdin:
    folder, words, variables = json.loads(line)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    parsed, code, errors = None, 0, io.StringIO()
    with contextlib.redirect_stderr(errors):
        try:
            parsed = vars(locust.argument_parser.get_parser().parse_args(words))
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([parsed, code, errors.getvalue()], default=str), flush=True)
"""


class Locust:
    """A process that parses command lines.

    Args:
        scenario: the file given to Locust.
    """

    def __init__(self, scenario: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(ROOT / "scenarios" / scenario)],
            env={**environment(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def parse(self, folder: Path, words: str, variables: dict[str, str]) -> tuple[dict[str, Any] | None, int, str]:
        """The options in a folder, the exit code, and what went to standard error."""
        request = [str(folder), words.split(), {"HOME": str(folder), **variables}]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        parsed, code, errors = json.loads(self._process.stdout.readline())
        return parsed, code, errors

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
        assert self._process.returncode == 0


@lru_cache
def started(scenario: str) -> Locust:
    return Locust(scenario)


@pytest.fixture(scope="module", autouse=True)
def ended_at_last() -> Iterator[None]:
    yield
    for scenario in ("rest.py", "soak.py"):
        started(scenario).close()
    started.cache_clear()


def options(folder: Path, words: str = "", variables: Any = None, scenario: str = "rest.py") -> dict[str, Any]:
    parsed, _, errors = started(scenario).parse(folder, words, variables or {})
    assert parsed is not None, errors
    return parsed


def test_each_source_wins_over_the_next(tmp_path: Path) -> None:
    """Seven options, each in one source less than the one before it."""
    names = ["seed", "channels", "drain", "warmup", "check-share", "signature", "model-name"]
    values = {"seed": "{}", "channels": "{}", "drain": "{}s", "warmup": "{}s", "check-share": "{}%", "signature": "s{}",
              "model-name": "m{}"}  # fmt: skip

    def value(name: str, level: int) -> str:
        return values[name].format(level)

    flags = " ".join(f"--{name}={value(name, 1)}" for name in names[:1])
    own = {f"BERTBENCH_LOCUST_{name.upper().replace('-', '_')}": value(name, 2) for name in names[:2]}
    general = {f"BERTBENCH_{name.upper().replace('-', '_')}": value(name, 3) for name in names[:3]}
    (tmp_path / "locust.conf").write_text("".join(f"{name} = {value(name, 4)}\n" for name in names[:4]))
    tables = {5: ("[locust.rest]", names[:5]), 6: ("[locust]", names[:6]), 7: ("", names[:7])}
    (tmp_path / "bertbench.toml").write_text(
        "".join(
            f"{tables[level][0]}\n" + "".join(f'{name} = "{value(name, level)}"\n' for name in tables[level][1])
            for level in (7, 6, 5)
        )
    )
    found = options(tmp_path, flags, own | general)
    assert [found[name.replace("-", "_")] for name in names] == [
        value(name, level) for level, name in enumerate(names, 1)
    ]


def test_locust_s_files_win_in_their_order_and_a_named_one_over_variables(tmp_path: Path) -> None:
    (tmp_path / "named.conf").write_text("seed = 1\n")
    (tmp_path / "pyproject.toml").write_text("[tool.locust]\nseed = 3\nchannels = 3\n")
    (tmp_path / "locust.conf").write_text("seed = 4\nchannels = 4\ndrain = 4s\n")
    (tmp_path / ".locust.conf").write_text("seed = 5\nchannels = 5\ndrain = 5s\nwarmup = 5s\n")
    found = options(tmp_path, "--config named.conf", {"BERTBENCH_SEED": "2"})
    assert [found[name] for name in ("seed", "channels", "drain", "warmup")] == ["1", "3", "4s", "5s"]
    assert options(tmp_path, "", {"BERTBENCH_SEED": "2"})["seed"] == "2"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("locust.conf", "users = 5\nrun-time = 9s\nhost = http://h:1\ndrain = 3s\ntags = [a, b]\npadded = true\n"),
        (
            "pyproject.toml",
            '[tool.locust]\nusers = 5\nrun-time = "9s"\nhost = "http://h:1"\ndrain = "3s"\ntags = ["a", "b"]\n'
            "padded = true\n",
        ),
        (
            "bertbench.toml",
            '[locust]\nusers = 5\nrun-time = "9s"\nhost = "http://h:1"\ndrain = "3s"\ntags = ["a", "b"]\n'
            "padded = true\n",
        ),
        (
            "pyproject.toml",
            '[tool.bertbench]\nusers = 5\ndrain = "3s"\npadded = true\n[tool.bertbench.locust]\nrun-time = "9s"\n'
            'host = "http://h:1"\ntags = ["a", "b"]\n',
        ),
    ],
)
def test_a_file_sets_locust_s_options_and_the_scenario_s(place: str, text: str, tmp_path: Path) -> None:
    (tmp_path / place).write_text(text)
    found = options(tmp_path)
    assert (found["num_users"], found["run_time"], found["host"]) == (5, 9, "http://h:1")
    assert (found["drain"], found["tags"], found["padded"]) == ("3s", ["a", "b"], True)


def test_variables_set_locust_s_options_and_the_scenario_s(tmp_path: Path) -> None:
    found = options(tmp_path, "", {"LOCUST_USERS": "7", "BERTBENCH_USERS": "5", "BERTBENCH_LOCUST_RUN_TIME": "9s",
                                   "BERTBENCH_SERVER_FLAGS": "--a=1 --b", "BERTBENCH_COMPRESSED": "yes",
                                   "BERTBENCH_DRAIN": "", "BERTBENCH_TOKEN": "x"})  # fmt: skip
    assert (found["num_users"], found["run_time"], found["drain"]) == (7, 9, "10s")
    assert (found["server_flags"], found["compressed"]) == ("--a=1 --b", True)


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("header = ['a: secret', 'b: c']", {}),
        ("[locust]\nheader = ['a: secret', 'b: c']", {}),
        ("headers = 'a: secret; b: c'", {}),
        ("header = 'd: e'", {"BERTBENCH_HEADER": "['a: secret', 'b: c']"}),
        ("headers = 'd: e'", {"BERTBENCH_LOCUST_HEADERS": "a: secret; b: c"}),
    ],
)
def test_headers_are_kept_where_those_of_flags_are(text: str, variables: dict[str, str], tmp_path: Path) -> None:
    """The options' own values, which Locust's web page shows, stay empty."""
    (tmp_path / "bertbench.toml").write_text(text)
    found = options(tmp_path, "", variables)
    assert found.pop(GIVEN_HEADERS) == ["a: secret", "b: c"]
    assert "secret" not in str(found)


def test_a_scenario_s_table_is_for_it_alone(tmp_path: Path) -> None:
    (tmp_path / "bertbench.toml").write_text('drain = "1s"\n[locust.soak]\ndrain = "2s"\n')
    assert options(tmp_path)["drain"] == "1s"
    assert options(tmp_path, scenario="soak.py")["drain"] == "2s"


def test_any_text_reaches_the_option_as_it_is(tmp_path: Path) -> None:
    text = "\t\\\"'ä😀\x7f#=[x]"
    assert options(tmp_path, "", {"BERTBENCH_MODEL_NAME": text})["model_name"] == text


@pytest.mark.parametrize(
    ("text", "variables", "reason"),
    [
        ("drain = 'soon'", {}, "drain in bertbench.toml: 'soon' is not a duration"),
        ("[locust]\nusers = 'x'", {}, "users in [locust] of bertbench.toml: invalid int value: 'x'"),
        ("[locust]\nusres = 1", {}, "usres in [locust] of bertbench.toml: Locust has no such option; did you mean us"),
        ("[locust]\nlocustfile = 'x'", {}, "locustfile in [locust] of bertbench.toml: Locust has no such option"),
        ("arivals = 'x'", {}, "arivals in bertbench.toml: unknown option; did you mean arrivals?"),
        ("padded = 'x'", {}, "padded in bertbench.toml: 'x' is not true or false"),
        ("", {"BERTBENCH_ARRIVALS": "closd"}, "BERTBENCH_ARRIVALS: unknown arrivals 'closd'"),
        ("", {"BERTBENCH_LOCUST_SEED": "-1"}, "BERTBENCH_LOCUST_SEED: -1 is out of range"),
        ("", {"BERTBENCH_CHECK_SHAR": "1"}, "BERTBENCH_CHECK_SHAR: unknown option"),
        ("", {"BERTBENCH_CONFIG": "none.toml"}, "BERTBENCH_CONFIG: cannot open none.toml"),
        ("x", {}, "bertbench.toml is not TOML"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_one_line_and_exit_code_2(
    text: str, variables: dict[str, str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "bertbench.toml").write_text(text)
    parsed, code, errors = started("rest.py").parse(tmp_path, "", variables)
    assert (parsed, code) == (None, 2)
    assert errors.startswith(f"bertbench: {reason}")
    assert errors.count("\n") == 1


def test_keys_of_other_commands_are_left_to_them(tmp_path: Path) -> None:
    (tmp_path / "bertbench.toml").write_text('baseline = "x"\nrepeat = 3\n[run]\nusers = 9\n[gate]\nmax-time = "1m"\n')
    assert options(tmp_path)["num_users"] == 8


def test_the_process_of_bertbench_run_takes_nothing_but_its_spec(tmp_path: Path) -> None:
    spec = make_spec(SCENARIOS["rest"], {}, read_target("", "rest"), 3, parse_duration("11s"))
    assert isinstance(spec, RunSpec)
    (tmp_path / "bertbench.toml").write_text('usrs = 1\nseed = 4\n[locust]\ncsv = "x"\n')
    (tmp_path / "locust.conf").write_text("users = 77\nhtml = x.html\n")
    (tmp_path / "pyproject.toml").write_text('[tool.locust]\nhost = "http://h:1"\n')
    found = options(tmp_path, "", {VARIABLE: spec.to_json().decode(), "BERTBENCH_SEED": "9"})
    assert (found["num_users"], found["run_time"], found["seed"]) == (3, 11, "0")
    assert (found["csv_prefix"], found["html_file"], found["host"]) == (None, None, None)
