"""What `bertbench run` makes of its options; that it runs is shown in `tests/integration/test_cli_run.py`."""

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.cli import main, run
from bench.cli.arguments.run import add_arguments
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.load_generator import Driven
from bench.cli.common.output_options import OutputOptions
from bench.cli.parser import Parser
from bench.core.errors import TargetError, UsageError
from bench.core.units import parse_duration
from bench.load.setup.run_spec import RunSpec
from bench.results.run_paths import FILE_NAME
from bench.server.running import RunningServer
from bench.workload.arrivals import ClosedLoop, Poisson
from tests.support.json_documents import document
from tests.support.synthetic_runs import WORKLOAD, simulate, write_run
from tests.support.toy_golden import write_model_dir


def plan(*words: str) -> Any:
    parser = Parser(prog="bertbench run")
    add_arguments(parser)
    return run.plan(parser.parse_args(words))


def test_one_run_of_the_scenario_s_own_arrivals() -> None:
    (spec,) = plan("rest")
    assert (spec.arrivals, spec.users, spec.run_time, spec.warmup, spec.seed) == (ClosedLoop(8), 8, 60.0, 6.0, 0)
    (spec,) = plan("soak")
    assert (spec.arrivals, spec.users, spec.run_time, spec.check_share) == (Poisson(10.0), 64, 1800.0, 0.1)
    (spec,) = plan("ramp", "--check-share", "50%")
    assert (spec.warmup, spec.drain, spec.check_share) == (0.0, 30.0, 0.5)


def test_every_arrivals_is_repeated_with_seeds_of_its_own_in_random_order() -> None:
    arrivals = ["poisson:rate=5", "closed", "constant:rate=7"]
    planned = plan(
        "grpc", "--repeat", "4", "--seed", "10", *(word for text in arrivals for word in ("--arrivals", text))
    )
    canonical = ["poisson:rate=5", "closed:users=8", "constant:rate=7"]
    found = [(str(spec.arrivals), spec.repeat) for spec in planned]
    assert sorted(found) == sorted((text, repeat) for text in canonical for repeat in range(4))
    assert found != sorted(found)
    assert all(spec.seed == 10 + spec.repeat for spec in planned)
    assert len({spec.group for spec in planned}) == 3
    assert all(len({spec.arrivals for spec in planned if spec.group == other.group}) == 1 for other in planned)


@pytest.mark.parametrize(
    ("duration", "warmup", "total", "before"),
    [
        ("60s", "auto", 66.0, 6.0),
        ("12s", "auto", 14.0, 2.0),
        ("10m", "auto", 610.0, 10.0),
        ("30s", "0", 30.0, 0.0),
        ("500ms", "0", 1.0, 0.5),
        ("30s", "5s", 35.0, 5.0),
        ("12.3s", "1s", 14.0, 1.7),
    ],
)
def test_the_duration_is_what_is_measured(duration: str, warmup: str, total: float, before: float) -> None:
    (spec,) = plan("rest", "--duration", duration, "--warmup", warmup)
    assert spec.duration == parse_duration(duration)
    assert spec.run_time == pytest.approx(total, abs=1e-9)
    assert spec.warmup == pytest.approx(before)


def test_options_are_values() -> None:
    words = "--users 9 --signature serving_default --padded --request-timeout 2s --headers X-Team:search --out x"
    (spec,) = plan("rest", *words.split(), "--server-flag=--a=1", "--target", "binary:/server")
    assert (spec.users, spec.signature, spec.padded, spec.compressed) == (9, "serving_default", True, False)
    assert (spec.timeout, spec.target.access.headers.names, spec.results) == (2.0, ("X-Team",), Path("x"))
    assert (spec.server_flags, str(spec.target)) == (("--a=1",), "binary:/server")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--repeat", "0"], "--repeat: 0 is out of range"),
        (["--users", "0"], "--users: 0 is out of range"),
        (["--seed", "-1"], "--seed: -1 is out of range"),
        (["--duration", "soon"], "--duration: 'soon' is not a duration"),
        (["--duration", "30"], "--duration: '30' is a duration without a unit; write 30ms or 30s"),
        (["--warmup", "5"], "--warmup: '5' is a duration without a unit"),
        (["--drain", "2"], "--drain: '2' is a duration without a unit"),
        (["--request-timeout", "0s"], "--request-timeout: a duration must be above zero"),
        (["--channels", "0"], "--channels: 0 is out of range"),
        (["--sentences-per-request", "1.5"], "--sentences-per-request: '1.5' is not a whole number"),
        (["--check-share", "50"], "--check-share: a fraction lies between 0 and 100%"),
        (["--headers", "X-Team search"], "--headers: a header has no colon"),
        (["--grpc-host", "http://localhost:1"], "--grpc-host: "),
        (["--transport", "fsat"], "--transport: 'fsat' is not one of fast, fast+grpcio"),
        (["--target", "estimator"], "--target: the estimator is not a server"),
        (["--target", "embeded"], "--target: 'embeded' is not a target"),
        (
            ["--target", "."],
            "--target: '.' is not a target: it is a folder, and that of a model is named with --model-dir",
        ),
    ],
)
def test_bad_options_are_refused_by_name_before_anything_starts(words: list[str], reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan("rest", *words)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("poisson:rate=0", "a rate must be above zero"),
        ("closed:think=5", "'5' is a duration without a unit"),
        ("closed:user=5", "did you mean users"),
        ("closedd", "unknown arrivals"),
        ("constant:rate=1e9", "the limit is 50,000,000"),
        ("burst:base=0,peak=9,every=2ms,length=1ms", "the limit is 1,000,000"),
    ],
)
def test_bad_arrivals_are_refused_before_anything_starts(text: str, reason: str) -> None:
    """Not after the runs of those before them."""
    with pytest.raises(UsageError, match=reason):
        plan("rest", "--duration", "1h", "--arrivals", "closed", "--arrivals", text)


def test_a_closed_loop_s_users_are_the_pool() -> None:
    (spec,) = plan("grpc", "--arrivals", "closed:users=3")
    assert (spec.users, spec.arrivals) == (3, ClosedLoop(3))
    with pytest.raises(UsageError, match="closed:users=3 and --users 4 contradict each other; give --users 3"):
        plan("grpc", "--arrivals", "closed:users=3", "--users", "4")
    (spec,) = plan("grpc", "--arrivals", "closed")
    assert (spec.users, spec.arrivals) == (8, ClosedLoop(8))


@pytest.mark.parametrize("code", [1, 4])
def test_a_demo_s_run_that_left_no_folder_failed(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust's own exit code 1 comes before there is a run, as where its port is taken."""
    monkeypatch.setattr(run, "drive_once", lambda *_: Driven(code, ""))
    server = RunningServer("http://127.0.0.1:9", "127.0.0.1:9", "bert", "embedded")
    model: Any = SimpleNamespace(model_dir=write_model_dir(tmp_path / "model"))
    err = io.StringIO()
    out = CommandOutput(io.StringIO(), err, OutputOptions(), "demo")
    with pytest.raises(TargetError, match="^the rest run failed$"):
        run.run_scenario("rest", server, model, 5.0, tmp_path / "runs", out, err)


@pytest.mark.parametrize("unreadable", [False, True], ids=["two runs", "one of two that can be read"])
def test_runs_before_an_error_are_in_every_output(
    unreadable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load generator of the third run is killed; `--json` printed the error alone, and no file was written."""
    made: list[Path] = []
    error = TargetError("the load generator ended by itself (killed by SIGKILL (out of memory?)); run again")

    def drive(spec: RunSpec, *args: object) -> Driven:
        if len(made) == 2:
            if unreadable:
                (made[0] / FILE_NAME).write_text("{")
            raise error
        workload = replace(WORKLOAD, seed=spec.seed, scenario="rest")
        stored = write_run(spec.results, simulate(workload=workload), workload=workload, group=spec.group)
        made.append(stored.path)
        return Driven(0, "")

    monkeypatch.setattr(run, "drive_once", drive)
    model, files = write_model_dir(tmp_path / "model"), (tmp_path / "junit.xml", tmp_path / "runs.md")
    words = ["run", "rest", "--target", "http://127.0.0.1:9", "--model-dir", model, "--out", tmp_path / "runs"]
    words += ["--repeat", 4, "--junit", files[0], "--markdown", files[1], "--json"]
    out, err = io.StringIO(), io.StringIO()
    assert main(list(map(str, words)), out, err) == 4
    line = f"bertbench: {error}"
    assert err.getvalue().splitlines()[-1] == line
    found = document(out.getvalue(), "run")
    assert (found["exit_code"], found["message"], found["exit_codes"]) == (4, line, [0, 0, 4])
    paths = made[1:] if unreadable else made
    assert [entry["path"] for entry in found["runs"]] == list(map(str, paths))
    (suite,) = ElementTree.parse(files[0]).getroot()
    cases = {case.get("name"): [child.get("message") for child in case.findall("error")] for case in suite}
    assert cases["bertbench run came to its end"] == [line]
    validity = [name for name in cases if name and name.endswith(": validity")]
    assert validity == [f"{path.name}: validity" for path in paths]
    assert files[1].read_text().lstrip().startswith(f"**{line}**\n\n## {paths[0].name}")


@pytest.mark.parametrize("raised", [True, False])
def test_an_error_before_the_first_run_is_in_the_junit_file(
    raised: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of an earlier command would say PASS of this one, and one without a case reads as success."""

    def refuse(spec: RunSpec, *args: object) -> Driven:
        if raised:
            raise TargetError("the server does not answer")
        return Driven(4, "bertbench: the server does not answer")

    monkeypatch.setattr(run, "drive_once", refuse)
    file = tmp_path / "junit.xml"
    words = ["run", "rest", "--target", "http://127.0.0.1:9", "--model-dir", write_model_dir(tmp_path / "model")]
    out = io.StringIO()
    given = [*words, "--out", tmp_path / "runs", "--junit", file, "--json"]
    assert main(list(map(str, given)), out, io.StringIO()) == 4
    assert document(out.getvalue(), "error")["error"]["text"] == "the server does not answer"
    (suite,) = ElementTree.parse(file).getroot()
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["1", "0", "1"]
