"""All faults of a file and of variables, each in a line."""

from pathlib import Path

import pytest

from bench.config.check import find_faults
from bench.config.names import misspelt_variables, unknown_variables
from bench.config.sources import read_settings
from tests.config.programs import names, program


def faults(text: str, variables: dict[str, str], folder: Path) -> list[str]:
    path = folder / "bertbench.toml"
    path.write_text(text)
    found = find_faults(program(), read_settings(variables, None, folder), names())
    return [line.replace(str(path), path.name) for line in found]


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("", {}),
        ("users = 5\nbaseline = 'x'\nstore = 's'\n[gate.check]\nseed = 3", {"BERTBENCH_PADDED": "no"}),
        ("results = 'r'\n[locust]\nhost = 3\n[locust.rest]\nusers = 'x'", {"BERTBENCH_TOKEN": "x"}),
        ("epochs = 3\n[run]\nsteps = 3", {}),
    ],
)
def test_good_settings_have_no_faults(text: str, variables: dict[str, str], tmp_path: Path) -> None:
    assert faults(text, variables, tmp_path) == []


def test_every_fault_is_a_line(tmp_path: Path) -> None:
    text = (
        "usrs = 1\nlocust = 1\nusers = 0\nout = 1\n[gate]\nseed = [1]\n"
        "[run]\nepochs = 1\nsteps = 2\npadded = 'x'\n[runn]\n[locusts]\n"
    )
    assert faults(text, {"BERTBENCH_USER": "1", "BERTBENCH_RUN_FORMAT": "xml"}, tmp_path) == [
        "usrs in bertbench.toml: unknown option; did you mean users?",
        "locust in bertbench.toml: its options belong in a table, [locust]",
        "table runn in bertbench.toml: unknown command; did you mean run?",
        "table locusts in bertbench.toml: unknown command; did you mean locust?",
        "BERTBENCH_USER: unknown option; did you mean BERTBENCH_USERS?",
        "users in bertbench.toml: 0 is out of range; give a whole number from 1 to 100",
        "padded in [run] of bertbench.toml: 'x' is not true or false, which a switch takes",
        "BERTBENCH_RUN_FORMAT: 'xml' is not one of tsv, json",
        "seed in [gate] of bertbench.toml: the option takes one value; give it without a list",
        "epochs in [run] of bertbench.toml and steps in [run] of bertbench.toml exclude each other; keep one of them",
    ]


def test_a_number_that_cannot_be_shown_is_a_fault(tmp_path: Path) -> None:
    says = "in bertbench.toml: the number has too many digits; give a smaller one"
    text = f"users = 0x{'1' * 5000}\nnoise = 0x{'1' * 5000}"
    assert faults(text, {}, tmp_path) == [f"users {says}", f"noise {says}"]


def test_in_a_project_s_file_an_option_s_table_has_the_prefix(tmp_path: Path) -> None:
    """[run] would be a table of another program."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.bertbench]\nrun = 1\n")
    (fault,) = find_faults(program(), read_settings({}, path, tmp_path), names())
    assert fault.endswith(
        "in [tool.bertbench] of " + str(path) + ": its options belong in a table, [tool.bertbench.run]"
    )


def test_a_value_that_only_some_commands_take_belongs_in_their_table(tmp_path: Path) -> None:
    assert faults("format = 'xml'", {}, tmp_path) == [
        "format in bertbench.toml: 'xml' is not one of tsv, json (bertbench run); store add takes it: set it for that "
        "command alone"
    ]


@pytest.mark.parametrize("name", ["BERTBENCH_TOKEN", "BERTBENCH_API_KEY", "BERTBENCH_RUN", "BERTBENCH_HOME"])
def test_other_variables_are_no_misspellings(name: str) -> None:
    assert misspelt_variables([name], names()) == []


def test_variables_of_no_option_are_listed() -> None:
    given = ["BERTBENCH_TOKEN", "BERTBENCH_USERS", "BERTBENCH_RUN_USERS", "BERTBENCH_GATE_CHECK_SEED", "BERTBENCH_RUN",
             "BERTBENCH_CONFIG", "BERTBENCH_STORE_STORE", "BERTBENCH_GATE_USERS"]  # fmt: skip
    assert unknown_variables(given, names()) == ["BERTBENCH_GATE_USERS", "BERTBENCH_TOKEN"]


def test_the_table_of_locust_has_locust_s_options(tmp_path: Path) -> None:
    assert faults("[locust]\nhots = 1\n[locust.rest]\nuserss = 1\n[locust.rest.deep]\n", {}, tmp_path) == [
        "hots in [locust] of bertbench.toml: Locust has no such option; did you mean host?",
        "userss in [locust.rest] of bertbench.toml: Locust has no such option; did you mean users?",
        "deep in [locust.rest] of bertbench.toml: Locust has no such option",
    ]
