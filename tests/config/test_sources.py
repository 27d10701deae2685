"""Which file is read, and which cannot be."""

from pathlib import Path

import pytest

from bench.config.sources import MOST_BYTES, read_file, read_settings, variable_name
from bench.core.errors import UsageError

OWN = "users = 1\n"
TABLE = "[tool.bertbench]\nusers = 2\n[tool.bertbench.run]\nusers = 3\n"

DEEP_TABLE = b"\n [" + b"a." * 500 + b"a]\nx = [\n[1.5],\n]\n" + b"".join(b"k%d = 1\n" % key for key in range(50_000))
"""Each of its keys is looked up through all parts of its name."""


def users(folder: Path) -> object:
    file = read_settings({}, None, folder).file
    return file.root["users"] if file else None


@pytest.mark.parametrize(
    ("own", "project", "value"),
    [
        (None, None, None),
        (OWN, None, 1),
        (None, TABLE, 2),
        (OWN, "[project]\nname = 'bertbench'\n", 1),
        (None, "[project]\nname = 'bertbench'\n", None),
        (None, "[tool.bertbench]\n", None),
        (OWN, "[tool.bertbench]\n", 1),
        # Another project's file is not read, whatever it holds.
        (None, "not toml", None),
        ("\ufeff" + OWN, None, 1),
    ],
)
def test_the_current_folder_s_file_is_read(
    own: str | None, project: str | None, value: int | None, tmp_path: Path
) -> None:
    for name, text in (("bertbench.toml", own), ("pyproject.toml", project)):
        if text is not None:
            (tmp_path / name).write_text(text, encoding="utf-8")
    assert users(tmp_path) == value


@pytest.mark.parametrize("text", ["[tool]\nbertbench = 3\n", "[[tool.bertbench]]\nusers = 3\n"])
def test_settings_that_are_not_a_table_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=r"^tool\.bertbench in .* is not a table; write its settings under \[tool"):
        read_settings({}, None, tmp_path)


def test_a_project_s_file_that_is_named_has_settings(tmp_path: Path) -> None:
    """Under a misspelt table they were all ignored."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.bertbnch]\nusers = 3\n")
    assert read_settings({}, None, tmp_path).file is None
    for environment, given in (({}, path), ({"BERTBENCH_CONFIG": str(path)}, None)):
        with pytest.raises(UsageError, match=r"has no table \[tool\.bertbench\]; put the settings there"):
            read_settings(environment, given, tmp_path / "elsewhere")


def test_two_files_of_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bertbench.toml").write_text(OWN)
    (tmp_path / "pyproject.toml").write_text(TABLE)
    with pytest.raises(UsageError, match=r"both .*bertbench\.toml and \[tool\.bertbench\] of .*keep one of them"):
        read_settings({}, None, tmp_path)


def test_a_project_s_file_names_its_table(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(TABLE)
    file = read_file(path)
    assert file.setting(("run",), "users").source == f"users in [tool.bertbench.run] of {path}"
    assert file.setting((), "users").source == f"users in [tool.bertbench] of {path}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"users = ", "is not TOML: Invalid value (at end of document); correct it"),
        (b"users = 1\nusers = 2\n", "is not TOML: Cannot overwrite a value (at line 2, column 10)"),
        (b"label = '\xff'", "is not UTF-8 (byte 10); save it as UTF-8"),
        (b"a = " + b"[" * 100_000, "is nested too deeply"),
        (b"a." * 5000 + b"a = 1", "is nested too deeply (line 1 has 5,000 dots)"),
        (b"a = {" + b"'a' . " * 5000 + b"a = 1}", "is nested too deeply (line 1 has 5,000 dots)"),
        (DEEP_TABLE, "is nested too deeply (line 2 has 500 dots)"),
        (b"a = " + b"9" * 5000, "is not TOML: "),
        (b"#" * (MOST_BYTES + 1), "has over 1,000,000 bytes"),
        (b"\x00", "is not TOML: "),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bertbench.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_file(path)
    assert str(caught.value).startswith(f"{path} {reason}")
    assert "\n" not in str(caught.value)


def test_dots_of_values_are_no_depth(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    values = ", ".join(["0.5"] * 3000)
    path.write_text(
        f"[project]\nvalues = [{values}]\n" + "[tool.bertbench.run]\nusers = 3\n# a.b.c\n" + "#.\n" * 100_000
    )
    assert read_file(path).root == {"run": {"users": 3}}


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="BERTBENCH_CONFIG: cannot open .*: it is a folder; name a file"):
        read_settings({"BERTBENCH_CONFIG": str(tmp_path)})


def test_variables_of_other_programs_are_not_settings(tmp_path: Path) -> None:
    assert read_settings({"LOCUST_USERS": "3", "BERTBENCH_A": "1"}, None, tmp_path).variables == {"BERTBENCH_A": "1"}


@pytest.mark.parametrize(
    ("scope", "option", "name"),
    [
        ((), "model-dir", "BERTBENCH_MODEL_DIR"),
        (("run",), "users", "BERTBENCH_RUN_USERS"),
        (("gate", "calibrate"), "max-time", "BERTBENCH_GATE_CALIBRATE_MAX_TIME"),
    ],
)
def test_a_variable_s_name_is_that_of_command_and_option(scope: tuple[str, ...], option: str, name: str) -> None:
    assert variable_name(scope, option) == name
