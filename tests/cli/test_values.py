"""Every option that takes a number checks it while the command line is read, and names itself, for every command."""

import argparse
from collections.abc import Iterator

import pytest

from bench.cli import COMMANDS, main
from bench.cli import parser as cli_parser
from bench.cli.common.values import Value, number, whole
from bench.cli.dispatch import make_parser
from bench.core.errors import UsageError

# No option takes these. "0" and "-1" are apart: some options take the former.
NEVER = ["", " ", "nan", "inf", "-inf", "-1", "1e99", "some", "1_0", "1,5", "٣", "--"]
# Options whose value is a number in a text of its own, read by the command: what reads it has tests of its own.
TEXTS = {
    "--arrivals", "--autoscale", "--batching", "--fail", "--min-effect", "--plan", "--redundancy", "--rolling", "--slo",
    "--slow",
}  # fmt: skip


def parsers(command: str) -> Iterator[argparse.ArgumentParser]:
    """The command's parser and those of its sub-commands."""

    top = make_parser([command])
    (commands,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    waiting = [commands.choices[command]]
    while waiting:
        found = waiting.pop()
        yield found
        for action in found._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()


def options(command: str) -> Iterator[tuple[argparse.ArgumentParser, argparse.Action]]:
    for found in parsers(command):
        for action in found._actions:
            if action.option_strings and action.nargs != 0:
                yield found, action


def is_number(action: argparse.Action) -> bool:
    """Whether the option takes a number, a duration, a rate or a share: it refuses every text that is neither."""
    if not isinstance(action.type, Value):
        return False
    try:
        action.type("some text: x")
    except UsageError as error:
        return any(word in str(error) for word in ("number", "duration", "rate", "fraction"))
    return False


NUMERIC = [
    pytest.param(found, action, id=f"{found.prog} {action.option_strings[0]}")
    for command in COMMANDS
    for found, action in options(command)
    if is_number(action)
]


def test_there_are_options_with_numbers_in_almost_every_command() -> None:
    found = {str(entry.values[0].prog).split()[1] for entry in NUMERIC}  # type: ignore[union-attr]
    assert found == set(COMMANDS) - {"report", "compare", "baseline", "config", "completion", "scenario"}
    assert len(NUMERIC) > 60


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_takes_a_number_unchecked(command: str) -> None:
    for found, action in options(command):
        assert action.type not in (int, float, complex), f"{found.prog} {action.option_strings}"
        name = action.option_strings[0]
        looks_numeric = action.metavar in ("N", "TIME", "T", "P", "R", "SHARE", "PRICE") or isinstance(
            action.default, int | float
        )
        if looks_numeric and not isinstance(action.default, bool) and name not in TEXTS:
            assert isinstance(action.type, Value), f"{found.prog} {name} is read unchecked"


@pytest.mark.parametrize(("found", "action"), NUMERIC)
def test_what_is_not_a_number_of_the_option_s_range_is_refused_by_name(
    found: argparse.ArgumentParser, action: argparse.Action
) -> None:
    name = action.option_strings[0]
    for text in NEVER:
        with pytest.raises(UsageError) as caught:
            found.parse_args([f"{name}={text}"])
        assert str(caught.value).startswith(f"{name}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("found", "action"), NUMERIC)
def test_the_default_is_one_that_the_option_takes(found: argparse.ArgumentParser, action: argparse.Action) -> None:
    if isinstance(action.default, str):
        assert isinstance(action.type, Value)
        action.type(action.default)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("baseline add r --label \x1b", "--label: '\\x1b' has a line end or another control character; leave it out"),
        ("capacity --label \x1b", "--label: '\\x1b' has a line end or another control character; leave it out"),
        (
            "capacity simulate d --replicas 2 --rate 5 --out a.jpg",
            "--out: a.jpg ends in .jpg, and plots are PNG files; give a.png",
        ),
        ("report d --out b/a.html", "--out: b/a.html is named like a file; name a folder for all files, like b/a"),
        ("compare d e --out /dev/null", "--out: /dev/null is a file; name a folder, which is made if it is not there"),
        ("gate --out a.md", "--out: a.md is named like a file"),
        ("run rest --out a.csv", "--out: a.csv is named like a file"),
        ("demo --out /dev/null", "--out: /dev/null is a file"),
        ("capacity --out a.html", "--out: a.html is named like a file"),
        ("gate history d --plot b/a.svg", "--plot: b/a.svg ends in .svg, and plots are PNG files; give b/a.png"),
        ("capacity --price 1e12", "--price: 1e12 is out of range; give a number from 0 to 1,000,000,000"),
        ("demo --seconds 0", "--seconds: 0 is out of range; give a number from 1 to 86,400"),
        ("demo --seconds 1e99", "--seconds: 1e99 is out of range"),
        ("score f --in-flight 0", "--in-flight: 0 is out of range"),
        ("score f --timeout 60", "--timeout: '60' is a duration without a unit; write 60ms or 60s"),
        ("verify --sentences 0", "--sentences: 0 is out of range"),
        ("verify --tolerance nan", "--tolerance: 'nan' is not a number"),
        (
            "serve m --grpc-port 99999",
            "--grpc-port: 99999 is out of range; give a whole number from 1 to 65535",
        ),
        ("serve m --rest-port 0", "--rest-port: 0 is out of range"),
        ("serve m --rest-port -1", "--rest-port: -1 is out of range"),
        ("train t --out o --epochs inf", "--epochs: 'inf' is not a number"),
        ("train t --out o --save-every 30", "--save-every: '30' is a duration without a unit"),
        ("export --checkpoint demo --out o --version -1", "--version: -1 is out of range"),
        ("calibrate --duration 8", "--duration: '8' is a duration without a unit"),
        ("calibrate --duration 1ms", "--duration: 1 ms is too short to measure; give 1s or more"),
        ("capacity --plan rate=0/s", "a rate must be above zero, at most 1,000,000,000/s, not '0/s'"),
        ("capacity --step-time 20", "--step-time: '20' is a duration without a unit"),
        (
            "capacity plan d --headroom 20",
            "--headroom: a fraction lies between 0 and 100%, not '20'; did you mean 20%?",
        ),
        ("capacity plan d --price nan", "--price: 'nan' is not a number"),
        ("capacity simulate d --replicas 0 --rate 5", "--replicas: 0 is out of range"),
        ("gate --max-time 300", "--max-time: '300' is a duration without a unit"),
        ("gate history d --p-value 2", "--p-value: 2 is out of range"),
    ],
)
def test_a_bad_number_is_one_line_and_exit_code_2(words: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr().err.startswith(f"bertbench: {reason}")


def test_ranges_hold_their_ends() -> None:
    assert [whole(1, 5)("1"), whole(1, 5)("5"), number(0, 1)("0"), number(0, 1)("1")] == [1, 5, 0.0, 1.0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("run rest --durration 5s", "unknown option --durration; did you mean --duration?"),
        ("run rest -duration 5s", "unknown option -duration; did you mean --duration?"),
        ("run rest --durration=5s", "unknown option --durration; did you mean --duration?"),
        ("score f --targt embedded", "unknown option --targt; did you mean --target?"),
        ("score --targt embedded", "unknown option --targt; did you mean --target?"),
        ("export --chekpoint demo --out x", "unknown option --chekpoint; did you mean --checkpoint?"),
        ("capacity plan d --pln rate=5", "unknown option --pln; did you mean --plan?"),
        ("capacity simulate d --replcas 2 --rate 5", "unknown option --replcas; did you mean --replicas?"),
        ("run rest --host http://x", "unknown option --host; did you mean --target?"),
        ("run rest --results=x", "unknown option --results; did you mean --out?"),
        ("run rest --run-time 5s", "unknown option --run-time; did you mean --duration?"),
        ("run rest -t 5s", "unknown option -t; did you mean --duration?"),
        ("run rest -u 5", "unknown option -u; did you mean --users?"),
        ("run rest -q -w 5", "unknown option -w; see bertbench run --help"),
        ("capacity --users 5", "unknown option --users; did you mean --max-users?"),
        ("capacity --duration 5s", "unknown option --duration; did you mean --step-time?"),
        ("gate history d --plott x", "unknown option --plott; did you mean --plot?"),
        ("gate calibrate --gatess 3", "unknown option --gatess; did you mean --gates?"),
        ("baseline add r --promote --lable x", "unknown option --lable; did you mean --label?"),
        ("baseline add r --promot", "unknown option --promot; did you mean --promote?"),
        ("--verson", "unknown option --verson; did you mean --version?"),
        ("run rest --label x", "unknown option --label; see bertbench run --help"),
        ("demo --qqqqqq", "unknown option --qqqqqq; see bertbench demo --help"),
        ("trian t", "'trian' is not one of train, export"),
        ("trian t", "did you mean train?"),
        ("run rset", "did you mean rest?"),
        ("run sokk", "did you mean soak?"),
        ("capacity simlate d", "did you mean simulate?"),
        ("baseline promot x", "did you mean promote?"),
        ("gate --baseline a --candidate b histroy", "did you mean history?"),
        ("score f --format jsn", "'jsn' is not one of tsv, jsonl, json, html; did you mean json?"),
        ("serve m --backend dcoker", "did you mean docker?"),
        ("export --checkpoint demo --out x --precision bfloat", "did you mean bfloat16?"),
        ("capacity --policy least-load", "did you mean least-loaded?"),
        ("score f g", "unexpected argument 'g'"),
    ],
)
def test_a_misspelt_word_is_named_with_the_nearest_one(
    words: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_parser_names_the_nearest_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for found in parsers(command):
        assert isinstance(found, cli_parser.Parser)
        for action in found._actions:
            for name in (name for name in action.option_strings if len(name) > 5):
                misspelt = name[:-2] + name[-1] + name[-2] + "x"
                with pytest.raises(SystemExit):
                    found.parse_args([misspelt])
                assert f"unknown option {misspelt}; did you mean --" in capsys.readouterr().err
