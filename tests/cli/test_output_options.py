"""The options of output, which every command has, before or after its word."""

import io
import logging
import re
from pathlib import Path

import orjson
import pytest

from bench.cli import main
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.output_options import OutputOptions
from bench.cli.common.progress import ProgressDisplay
from bench.cli.dispatch import make_parser
from bench.core.errors import UsageError
from bench.core.logs import logging_to
from bench.core.output import LegibleStream


def parsed(line: str) -> OutputOptions:
    words = line.split()
    return OutputOptions.of(make_parser(words).parse_args(words))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("compare a b", OutputOptions()),
        ("--json compare a b", OutputOptions(json=True)),
        ("compare --json a b", OutputOptions(json=True)),
        ("compare a b --json", OutputOptions(json=True)),
        ("--json -q compare a b", OutputOptions(json=True, quiet=True, level=logging.ERROR)),
        ("-q compare a b --json", OutputOptions(json=True, quiet=True, level=logging.ERROR)),
        ("--quiet baseline list", OutputOptions(quiet=True, level=logging.ERROR)),
        ("baseline -q list", OutputOptions(quiet=True, level=logging.ERROR)),
        ("baseline list -q", OutputOptions(quiet=True, level=logging.ERROR)),
        ("-v capacity plan f", OutputOptions(level=logging.INFO)),
        ("capacity plan f --verbose", OutputOptions(level=logging.INFO)),
        ("--log-level debug run rest", OutputOptions(level=logging.DEBUG)),
        ("run rest --log-level CRITICAL", OutputOptions(level=logging.CRITICAL)),
        ("-q run rest --log-level info", OutputOptions(quiet=True, level=logging.INFO)),
        ("gate --baseline a --candidate b --json", OutputOptions(json=True)),
        ("gate --json --baseline a --candidate b", OutputOptions(json=True)),
        ("gate --json FILE --baseline a --candidate b", OutputOptions()),
    ],
)
def test_options_before_and_after_the_command(line: str, expected: OutputOptions, tmp_path: Path) -> None:
    assert parsed(line.replace("FILE", str(tmp_path / "gate.json"))) == expected


@pytest.mark.parametrize("line", ["-q -v compare a b", "-q compare a b -v", "compare -v a b --quiet"])
def test_quiet_and_verbose_contradict_each_other(line: str) -> None:
    with pytest.raises(UsageError, match="--quiet and --verbose contradict"):
        parsed(line)


def call(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        code = main(words)
    except SystemExit as ended:
        code = int(ended.code)
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--json", "compare", "/nowhere", "/nowhere"], 2, "/nowhere"),
        (["compare", "/nowhere", "--json"], 2, "RUN_B"),
        (["compare", "/a", "/b", "--json", "--anyways"], 2, "did you mean --anyway?"),
        (["--json", "frobnicate"], 2, "frobnicate"),
        (["gate", "--json", "calibrate"], 2, "write gate calibrate --json"),
        (["--json", "-q", "-v", "compare", "a", "b"], 2, "contradict"),
        (["run", "rest", "--json", "--users", "0"], 2, "--users"),
    ],
)
def test_an_error_is_one_document_and_one_line(
    words: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = call(words, capsys)
    assert found == code
    assert len(err.splitlines()) == len(out.splitlines()) == 1
    document = orjson.loads(out)
    assert (document["format"], document["exit_code"], document["error"]["kind"]) == (1, code, "usage")
    assert text in document["error"]["text"]
    assert document["message"] == err.rstrip("\n")


def test_without_json_an_error_leaves_standard_output_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["compare", "/nowhere", "/nowhere"], capsys)[:2] == (2, "")


@pytest.mark.parametrize(
    ("options", "out", "err"),
    [
        (OutputOptions(), "remark\npart\ntext\n", "progress\n"),
        (OutputOptions(quiet=True), "short\n", ""),
        (OutputOptions(json=True), '{"format":1,"command":"x","exit_code":3,"message":null}\n', "remark\nprogress\n"),
        (OutputOptions(json=True, quiet=True), '{"format":1,"command":"x","exit_code":3,"message":null}\n', ""),
    ],
)
def test_where_remarks_parts_and_results_go(options: OutputOptions, out: str, err: str) -> None:
    streams = io.StringIO(), io.StringIO()
    output = CommandOutput(*streams, options, "x")
    print("remark", file=output, flush=True)
    print("progress", file=output.progress)
    output.part("part")
    output.result(Document(command="x", exit_code=3), "text", "short")
    output.error("bertbench: not another document", 2)
    assert (streams[0].getvalue(), streams[1].getvalue()) == (out, err)


def test_a_terminal_acts_on_nothing_that_files_and_servers_wrote() -> None:
    streams = io.StringIO(), io.StringIO()
    output = CommandOutput(*streams, OutputOptions(), "x")
    print("remark\x1b[2J", file=output)
    output.part("part\x9b31m\ttab")
    output.result(Document(command="x", exit_code=0), "text\x07\u202e ü\nline")
    print("\x1b]0;title", file=LegibleStream(streams[1]))
    assert streams[0].getvalue() == "remark\\x1b[2J\npart\\x9b31m\ttab\ntext\\x07\\u202e ü\nline\n"
    assert streams[1].getvalue() == "\\x1b]0;title\n"


def test_what_json_lacks_is_null_and_other_characters_are_kept() -> None:
    class Numbers(Document, frozen=True, kw_only=True):
        values: tuple[float, ...]

    out = io.TextIOWrapper(buffer := io.BytesIO(), encoding="ascii", errors="strict", write_through=True)
    output = CommandOutput(out, io.StringIO(), OutputOptions(json=True), "x")
    output.result(Numbers(command="Δ…", values=(float("nan"), float("inf"), -0.5)), "")
    assert buffer.getvalue().isascii()
    found = orjson.loads(buffer.getvalue())
    assert (found["command"], found["values"]) == ("Δ…", [None, None, -0.5])


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.DEBUG, ["DEBUG bench.x: one", "INFO bench.x: two", "WARNING urllib3: three", "ERROR bench.x: four"]),
        (logging.WARNING, ["WARNING urllib3: three", "ERROR bench.x: four"]),
        (logging.ERROR, ["ERROR bench.x: four"]),
        (logging.CRITICAL, []),
    ],
)
def test_libraries_log_to_standard_error_from_the_level_on(level: int, expected: list[str]) -> None:
    err = io.StringIO()
    before = logging.getLogger().level, list(logging.getLogger().handlers)
    with logging_to(err, level):
        logging.getLogger("bench.x").debug("one")
        logging.getLogger("bench.x").info("two")
        logging.getLogger("urllib3").warning("three")
        logging.getLogger("bench.x").error("four")
    assert err.getvalue().splitlines() == expected
    assert (logging.getLogger().level, logging.getLogger().handlers) == before


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-8]|4[0-8]|9[0-7])[0-9;]*m")


@pytest.mark.parametrize(
    ("variables", "terminal", "controls", "colours"),
    [
        ({}, True, True, True),
        ({"NO_COLOR": "1"}, True, True, False),
        ({"TERM": "dumb"}, True, False, False),
        ({}, False, False, False),
        ({"FORCE_COLOR": "1"}, False, False, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(
    variables: dict[str, str], terminal: bool, controls: bool, colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    err = Terminal() if terminal else io.StringIO()
    with ProgressDisplay(err, "scoring", 100) as shown:
        shown.reach(50, "half")
    assert ("\x1b" in err.getvalue()) == controls
    assert bool(COLOUR.search(err.getvalue())) == colours


def test_main_takes_streams_and_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    before = logging.getLogger().level
    assert main(["--json", "baseline", "list", "--store", str(tmp_path)], out, err) == 0
    assert orjson.loads(out.getvalue())["entries"] == []
    assert logging.getLogger().level == before
