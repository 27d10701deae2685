"""Which setting wins, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from bench.config.command_line import read_command_line, without_options
from bench.core.errors import UsageError, one_line
from tests.config.programs import names, parsed, program, read

HUGE = "1" * 5000
"""Digits of a number that Python does not print."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> None:
    Path("bertbench.toml").write_text(text)


@pytest.mark.parametrize(
    ("flag", "own", "general", "table", "top", "value"),
    [
        ("1", "2", "3", "4", "5", 1),
        ("", "2", "3", "4", "5", 2),
        ("", "", "3", "4", "5", 3),
        ("", "", "", "4", "5", 4),
        ("", "", "", "", "5", 5),
        ("", "", "", "", "", None),
    ],
)
def test_the_command_line_wins_then_variables_then_the_file_and_one_command_s_over_all(
    flag: str, own: str, general: str, table: str, top: str, value: int | None
) -> None:
    write((f"users = {top}\n" if top else "") + (f"[run]\nusers = {table}\n" if table else ""))
    # An empty variable is one that is not set.
    variables = {"BERTBENCH_RUN_USERS": own, "BERTBENCH_USERS": general}
    assert parsed(f"run rest {f'--users {flag}' if flag else ''}", variables).users == value


@pytest.mark.parametrize(
    ("words", "text", "option", "value"),
    [
        ("run rest", "model_dir = 'm'", "model_dir", Path("m")),
        ("run rest", "model-dir = 'm'", "model_dir", Path("m")),
        ("run rest", "arrivals = ['a', 'b']", "arrivals", ["a", "b"]),
        ("run rest", "arrivals = 'a'", "arrivals", ["a"]),
        ("run rest", "arrivals = []", "arrivals", []),
        ("run rest --arrivals c", "arrivals = ['a', 'b']", "arrivals", ["c"]),
        ("run rest", "padded = true", "padded", True),
        ("run rest", "padded = false", "padded", False),
        ("run rest", "[run]\npadded = false", "padded", False),
        ("run rest", "padded = true\n[run]\npadded = false", "padded", False),
        ("run rest", "noise = 2", "noise", 2),
        ("run rest", "noise = true", "noise", 1),
        ("run rest -n", "noise = 2", "noise", 1),
        ("run rest -nn", "noise = 1", "noise", 2),
        ("run rest", "check = false", "check", False),
        ("run rest --check", "check = false", "check", True),
        ("run rest --no-check", "check = true", "check", False),
        ("run rest", "out = '--'", "out", "--"),
        ("run rest", "out = '-x'", "out", "-x"),
        ("run rest", "out = ''", "out", ""),
        ("run rest", "out = 'a=b c'", "out", "a=b c"),
        ("run rest", "out = 1.5", "out", "1.5"),
        ("gate", "baseline = 'check'", "baseline", "check"),
        ("gate --baseline check", "seed = 4", "seed", "4"),
        ("gate --baseline=x", "dump = true", "dump", "-"),
        ("gate --baseline=x", "dump = 'f'", "dump", "f"),
        ("gate --baseline=x", "dump = false", "dump", None),
        ("gate --baseline=x --dump", "dump = 'f'", "dump", "-"),
        ("run rest", "seed = 3", "scenario", "rest"),
    ],
)
def test_each_kind_of_option_takes_its_value_from_the_file(words: str, text: str, option: str, value: Any) -> None:
    write(text)
    assert getattr(parsed(words), option) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", ["a"]),
        ("step:rates=10,20,hold=30s", ["step:rates=10,20,hold=30s"]),
        ('["a", "b,c"]', ["a", "b,c"]),
        ("['a']", ["a"]),
        ("[3, 4.5]", ["3", "4.5"]),
        ("[::1]:8500", ["[::1]:8500"]),
        ("[::1]", ["[::1]"]),
        ("[]", []),
    ],
)
def test_a_variable_holds_one_value_or_a_list(text: str, value: list[str]) -> None:
    assert parsed("run rest", {"BERTBENCH_ARRIVALS": text}).arrivals == value


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("YES", True), ("1", True), ("on", True), ("false", False), ("0", False)]
)
def test_a_switch_takes_true_or_false_from_a_variable(text: str, value: bool) -> None:
    write("padded = true")
    assert parsed("run rest", {"BERTBENCH_PADDED": text}).padded is value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", "-"), ("Yes", "-"), ("0", None), ("off", None), ("./1", "./1"), ("gate.json", "gate.json")],
)
def test_an_option_whose_value_may_be_left_out_is_a_switch_too(text: str, value: str | None) -> None:
    """BERTBENCH_JSON=1 is a switch of every other command, and named a file of the gate."""
    assert parsed("gate --baseline=b", {"BERTBENCH_DUMP": text}).dump == value


@pytest.mark.parametrize(
    ("words", "text", "seed", "out"),
    [
        ("gate --baseline=b check d", "seed = 1", "1", None),
        ("gate --baseline=b check d", "seed = 1\n[gate]\nseed = 2", "2", None),
        ("gate --baseline=b check d", "[gate]\nseed = 2\n[gate.check]\nseed = 3", "3", None),
        ("gate --baseline=b", "[gate]\nseed = 2\n[gate.check]\nseed = 3", "2", None),
        # A folder of the one command is not a file of the other.
        ("gate --baseline=b check d", "[gate]\nout = 'x'", "0", None),
        ("gate --baseline=b check d", "out = 'x'", "0", "x"),
        ("gate --baseline=b check d", "[gate.check]\nout = 'x'", "0", "x"),
    ],
)
def test_a_command_s_settings_are_those_of_its_sub_commands(words: str, text: str, seed: str, out: str | None) -> None:
    write(text)
    found = parsed(words)
    assert (found.seed, found.out) == (seed, out)


def test_a_group_of_commands_has_the_options_of_its_members() -> None:
    write("[store]\nstore = 'there'")
    assert parsed("store add").store == "there"
    assert parsed("store add", {"BERTBENCH_STORE_STORE": "elsewhere"}).store == "elsewhere"


@pytest.mark.parametrize(
    ("words", "variables", "text", "epochs", "steps"),
    [
        ("", {}, "epochs = 1", "1", None),
        ("--steps 2", {}, "epochs = 1", None, "2"),
        ("", {"BERTBENCH_STEPS": "2"}, "epochs = 1", None, "2"),
        ("", {"BERTBENCH_RUN_EPOCHS": "3", "BERTBENCH_STEPS": "2"}, "steps = 1", "3", None),
        ("", {}, "epochs = 1\n[run]\nsteps = 2", None, "2"),
        # A switch that is off excludes nothing.
        ("", {}, "epochs = 1\nendless = false", "1", None),
        ("", {"BERTBENCH_ENDLESS": "no"}, "epochs = 1", "1", None),
    ],
)
def test_of_options_that_exclude_each_other_the_higher_one_wins(
    words: str, variables: dict[str, str], text: str, epochs: str | None, steps: str | None
) -> None:
    write(text)
    found = parsed(f"run rest {words}", variables)
    assert (found.epochs, found.steps) == (epochs, steps)


@pytest.mark.parametrize(
    ("words", "variables", "text", "reason"),
    [
        ("run rest", {}, "users = 'a'", "users in bertbench.toml: 'a' is not a whole number"),
        ("run rest", {}, "[run]\nusers = 0", "users in [run] of bertbench.toml: 0 is out of range"),
        ("run rest", {"BERTBENCH_USERS": "a"}, "", "BERTBENCH_USERS: 'a' is not a whole number"),
        ("run rest", {"BERTBENCH_RUN_USERS": "1e9"}, "users = 1", "BERTBENCH_RUN_USERS: '1e9' is not a whole"),
        ("run rest", {}, "format = 'jsn'", "format in bertbench.toml: 'jsn' is not one of tsv, json; did"),
        ("run rest", {}, "users = true", "users in bertbench.toml: the option takes a text or a number, not true"),
        ("run rest", {}, "users = [1]", "users in bertbench.toml: the option takes one value"),
        ("run rest", {}, "arrivals = [[1]]", "arrivals in bertbench.toml: the option takes a text or a number, n"),
        ("run rest", {}, "out = 2026-11-29", "out in bertbench.toml: the option takes a text or a number, n"),
        ("run rest", {}, "padded = 'true'", "padded in bertbench.toml: 'true' is not true or false"),
        ("run rest", {}, "padded = 1", "padded in bertbench.toml: '1' is not true or false"),
        ("run rest", {"BERTBENCH_PADDED": "ture"}, "", "BERTBENCH_PADDED: 'ture' is not true or false, which a switch "
         "takes; did you mean true?"),
        ("run rest", {}, "noise = -1", "noise in bertbench.toml: -1 is out of range; give a number from 0 to 10"),
        ("run rest", {}, f"users = 0x{HUGE}", "users in bertbench.toml: the number has too many digits; give a sm"),
        ("run rest", {}, f"noise = 0x{HUGE}", "noise in bertbench.toml: the number has too many digits"),
        ("run rest", {}, f"padded = 0b1{HUGE * 4}", "padded in bertbench.toml: the number has too many digits"),
        ("run rest", {}, f"arrivals = ['a', 0x{HUGE}]", "arrivals in bertbench.toml: the number has too many digits"),
        ("run rest", {"BERTBENCH_NOISE": HUGE}, "", "BERTBENCH_NOISE: the number has too many digits"),
        ("run rest", {"BERTBENCH_ARRIVALS": f"[0x{HUGE}]"}, "", "BERTBENCH_ARRIVALS: the number has too many digits"),
        ("run rest", {"BERTBENCH_USERS": HUGE}, "", "BERTBENCH_USERS: "),
        ("run rest", {"BERTBENCH_ARRIVALS": '["a", b]'}, "", "BERTBENCH_ARRIVALS: cannot read the list"),
        ("run rest", {"BERTBENCH_ARRIVALS": "['a', {" + "a." * 5000 + "a=1}]"}, "", "BERTBENCH_ARRIVALS: cannot read"),
        ("run rest", {}, "epochs = 1\nsteps = 2", "epochs in bertbench.toml and steps in bertbench.toml exclude"),
        ("run rest", {"BERTBENCH_STEPS": "1", "BERTBENCH_EPOCHS": "1"}, "", "BERTBENCH_EPOCHS and BERTBENCH_STEPS ex"),
        ("run rest", {}, "usrs = 1", "usrs in bertbench.toml: unknown option; did you mean users?"),
        ("run rest", {}, "Users = 1", "Users in bertbench.toml: unknown option; did you mean users?"),
        ("run rest", {}, "[runn]\nusers = 1", "table runn in bertbench.toml: unknown command; did you mean r"),
        ("run rest", {}, "[gate]\nsed = 1", "sed in [gate] of bertbench.toml: unknown option; did you"),
        ("run rest", {}, "[run]\nbaseline = 1", "baseline in [run] of bertbench.toml: run has no such option, but ga"),
        ("run rest", {}, "gate = 1", "gate in bertbench.toml: its options belong in a table, [gate]"),
        ("run rest", {}, "model-dir = 'a'\nmodel_dir = 'b'", "model-dir and model_dir in bertbench.toml are the same"),
        ("run rest", {"BERTBENCH_USRS": "1"}, "", "BERTBENCH_USRS: unknown option; did you mean BERT"),
        ("run rest", {"BERTBENCH_RUN_USER": "1"}, "", "BERTBENCH_RUN_USER: unknown option"),
        ("run rest", {"BERTBENCH_CONFIG": "n.toml"}, "", "BERTBENCH_CONFIG: cannot open n.toml: the file or"),
        ("run rest --config n.toml", {}, "", "cannot open n.toml: the file or folder does not exist"),
        ("--config=n.toml run rest", {}, "", "cannot open n.toml"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_source(
    words: str, variables: dict[str, str], text: str, reason: str
) -> None:
    write(text)
    with pytest.raises((UsageError, OSError)) as caught:
        read(words, variables)
    assert isinstance(caught.value, UsageError | OSError)
    line = one_line(caught.value)
    assert line.startswith(reason)
    assert "\n" not in line


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        ("run rest", {"BERTBENCH_TOKEN": "x", "BERTBENCH_RUN": "{}", "PATH": "/bin"}),
        ("run --help", {"BERTBENCH_USERS": "a"}),
        ("run -h", {"BERTBENCH_USERS": "a"}),
        ("frobnicate", {"BERTBENCH_USERS": "a"}),
        ("", {"BERTBENCH_USERS": "a"}),
        ("gate", {"BERTBENCH_USERS": "a"}),
        ("run rest --users 3", {"BERTBENCH_USERS": "a"}),
    ],
)
def test_what_does_not_matter_is_left_alone(words: str, variables: dict[str, str]) -> None:
    assert read(words, variables).words == words.split()


@pytest.mark.parametrize("words", ["run rest --config other.toml", "--config other.toml run rest"])
def test_another_file_is_read_instead(words: str) -> None:
    write("users = 'a'")
    Path("other.toml").write_text("users = 8")
    Path("third.toml").write_text("users = 9")
    assert parsed(words, {"BERTBENCH_CONFIG": "third.toml"}).users == 8
    assert parsed("run rest", {"BERTBENCH_CONFIG": "third.toml"}).users == 9
    assert parsed("run rest --config /dev/null").users is None


def test_an_error_of_the_command_says_where_the_option_was_set() -> None:
    write("out = 'x'\nusers = 4")
    line = read("run rest --format tsv", {"BERTBENCH_ARRIVALS": "closed"})

    def command() -> None:
        with line.naming_sources():
            raise UsageError("--users 4 and --arrivals closed contradict each other; change --format, not --output")

    with pytest.raises(UsageError) as caught:
        command()
    assert str(caught.value).endswith("not --output (--users: users in bertbench.toml; --arrivals: BERTBENCH_ARRIVALS)")


def test_children_do_not_see_the_variables_of_options() -> None:
    environment = {"BERTBENCH_USERS": "4", "BERTBENCH_CONFIG": "f", "BERTBENCH_TOKEN": "x", "HOME": "/"}
    before = dict(environment)
    with without_options(environment):
        assert environment == {"BERTBENCH_TOKEN": "x", "HOME": "/"}
    assert environment == before
    assert not {name for name in os.environ if name in names().variables()}


def test_the_required_option_may_be_a_setting() -> None:
    write("[gate]\nbaseline = 'b'")
    assert parsed("gate").baseline == "b"
    assert read_command_line(program(), ["gate"], {}, names()).words == ["gate", "--baseline=b"]


@pytest.mark.parametrize(
    ("words", "text", "quiet", "verbose"),
    [
        ("run rest", "quiet = true", True, False),
        ("run rest -v", "quiet = true", False, True),
        ("-v run rest", "quiet = true", False, True),
        ("run rest -q", "verbose = true\nquiet = false", True, False),
    ],
)
def test_an_option_before_the_command_s_word_wins_too(words: str, text: str, quiet: bool, verbose: bool) -> None:
    write(text)
    found = parsed(words)
    assert (getattr(found, "quiet", False), getattr(found, "verbose", False)) == (quiet, verbose)
