"""A server that holds another model of the same shape is named before a figure is made of it."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bench.bert.contract.golden import FILE_NAME, Golden, GoldenSentence, read_golden
from bench.bert.contract.golden_checker import GoldenChecker
from bench.bert.contract.masked_requests import LOG_PROB
from bench.bert.contract.preflight import SENTENCES, Preflight, export_name
from bench.bert.demo.client_files import CLIENT_FOLDER
from bench.capacity.experiment.experiment_design import Step
from bench.capacity.experiment.runner_driver import ReplicaServers, RunnerDriver, template_of
from bench.capacity.experiment.sweep_listener import SweepListener
from bench.capacity.experiment.sweep_spec import SweepSpec
from bench.capacity.measurements.measured_step import Stage
from bench.capacity.plan.slo import Slo
from bench.cli import main
from bench.cli.verify import verify_server
from bench.core.errors import TargetError, WrongAnswerError
from bench.load.runner.client import Runner
from bench.load.selftest.null_server import null_server
from bench.load.setup.run_spec import RunSpec
from bench.load.setup.target_session import TargetSession
from bench.server.running import free_ports
from bench.serving.errors import Rejected
from bench.serving.fake import FakeServingClient
from bench.serving.target import parse_target
from bench.workload.due_times import ClosedLoop
from tests.support.locust_process import locust
from tests.support.toy_golden import toy_golden, write_model_dir


def other_model(golden: Golden) -> Golden:
    """Another model of the same shape, with the same vocabulary."""
    sentences = tuple(GoldenSentence(entry.sentence, entry.log_prob - 0.5) for entry in golden.sentences)
    return replace(golden, checkpoint_digest="sha256:other", sentences=sentences)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Serves a model that has the demo's shape and vocabulary, and other weights."""
    folder = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(CLIENT_FOLDER, folder)
    golden = other_model(read_golden(CLIENT_FOLDER).golden)
    (folder / "1" / "assets.extra" / FILE_NAME).write_bytes(golden.to_json())
    with null_server(folder) as addresses:
        yield addresses


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.tsv"
    path.write_text(read_golden(CLIENT_FOLDER).golden.sentences[0].sentence.text + "\n")
    return str(path)


def said(*words: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    return main(words, out, err), out.getvalue(), err.getvalue()


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize("command", ["score", "run", "gate", "capacity"])
def test_another_model_is_named_and_nothing_is_made_of_it(
    server: dict[str, str], text: str, tmp_path: Path, capfd: Any, command: str, protocol: str
) -> None:
    target = server["rest"] if protocol == "rest" else f"grpc://{server['grpc']}"
    words = {
        "score": ("score", text, "--target", target),
        "run": ("run", protocol, "--target", target, "--duration", "1s", "--out", str(tmp_path / "runs")),
        "gate": ("gate", "--baseline", target, "--candidate", target, "--max-time", "20s"),
        "capacity": ("capacity", "--protocol", protocol, "--target", target, "--out", str(tmp_path / "runs")),
    }[command]
    code, out, err = said(*words, "--model-dir", str(CLIENT_FOLDER))
    assert code == 1
    # The load generator is a process of its own, whose standard error is ours.
    shown = out + err + capfd.readouterr().err
    assert f"{target} holds another model than {CLIENT_FOLDER}: 4 of 4 golden sentences" in shown
    assert "p50" not in shown
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize("case", ["nobody", "no such model", "another model"])
def test_a_sweep_says_it_as_a_run_does(server: dict[str, str], tmp_path: Path, capfd: Any, case: str) -> None:
    """The same check with the same words, before the load."""
    (port,) = free_ports(1)
    target = f"http://127.0.0.1:{port}" if case == "nobody" else server["rest"]
    given = ["--target", target, "--model-dir", str(CLIENT_FOLDER)]
    given += ["--model-name", "nix"] if case == "no such model" else []
    found = []
    for words in (("run", "rest", "--duration", "1s"), ("capacity",)):
        code, out, err = said(*words, *given, "--out", str(tmp_path / words[0]))
        shown = out + err + capfd.readouterr().err
        found.append((code, [line for line in shown.splitlines() if target in line and "bertbench" in line][-1]))
        assert not (tmp_path / words[0] / "sweep.json").exists()
    assert found[0] == found[1]


def test_each_replica_of_a_sweep_is_checked_once(server: dict[str, str], tmp_path: Path) -> None:
    with null_server(CLIENT_FOLDER) as right, ExitStack() as stack:
        first, other = parse_target(right["rest"]), parse_target(server["rest"])
        load = RunSpec(
            scenario="capacity", protocol="rest", arrivals=ClosedLoop(1), users=1, duration=1.0, target=first,
            target_name="first", model_dir=CLIENT_FOLDER,
        )  # fmt: skip
        spec = SweepSpec(load=load, slo=Slo.parse("p99=1s"), out=tmp_path, replicas=2, replica_targets=(other,))
        asked: list[RunSpec] = []

        def run(run_spec: RunSpec) -> Path:
            asked.append(run_spec)
            return tmp_path

        runner, servers = cast("Runner", SimpleNamespace(run=run)), ReplicaServers(spec, stack)
        driver = RunnerDriver(runner, SweepListener(), servers, 1, template_of(spec))
        for count in (1, 1, 2, 2):
            replace(driver, replicas=count).run(Step(Stage.LADDER, 1, None, 1.0, 0, 0), 1, tmp_path)
        assert [entry.preflight for entry in asked] == [True, False, True, False]
        golden, session = read_golden(CLIENT_FOLDER).golden, TargetSession()
        assert session.open(asked[0], CLIENT_FOLDER, golden).rest == right["rest"]
        with pytest.raises(WrongAnswerError, match=f"^{server['rest']} holds another model than "):
            session.open(asked[2], CLIENT_FOLDER, golden)


def test_locust_says_it_too(server: dict[str, str], tmp_path: Path) -> None:
    words = ("-t", "2s", "-u", "1", "--host", server["rest"], "--model-dir", str(CLIENT_FOLDER))
    ended = locust("rest.py", tmp_path / "runs", *words)
    assert ended.code == 1
    assert "another model" in ended.err
    assert ended.left is None
    ended = locust("rest.py", tmp_path / "runs", *words, "--no-preflight")
    assert ended.code == 1
    counts = ended.accounted()
    assert set(counts) <= {"wrong_answer", "dropped"}
    assert counts["wrong_answer"] > 0


def test_the_demo_is_meant_without_a_model_folder(server: dict[str, str], text: str) -> None:
    assert export_name(None) == "the demo model (which is meant without --model-dir)"
    code, out, _ = said("score", text, "--target", server["rest"], "--no-preflight", "--model-dir", str(CLIENT_FOLDER))
    assert code == 0
    assert out


def preflight(golden: Golden, answered: Golden, wrong: set[int], **failing: Any) -> FakeServingClient:
    """Runs a preflight for `golden` against a server with `answered`, but for the requests in `wrong`."""
    count = len(answered.sentences)
    chosen = sorted({int(index) for index in np.linspace(0, count - 1, min(SENTENCES, count))})
    right = GoldenChecker(answered, [(index,) for index in chosen], "score")
    other = GoldenChecker(other_model(answered), [(index,) for index in chosen], "score")
    numbers = iter(range(len(chosen)))

    def answer(_: Any) -> Any:
        number = next(numbers)
        return (other if number in wrong else right).outputs(number)

    client = FakeServingClient(answer)
    if failing:
        client.fail(*failing["failure"])
    Preflight(golden, "score", "bert", "EXPORT").require_same_model(client, "TARGET", 1.0)
    return client


def test_a_server_that_is_right_for_one_of_them_passes() -> None:
    golden = toy_golden()
    assert len(preflight(golden, golden, set()).calls) == SENTENCES
    preflight(golden, golden, {0, 1, 2})
    with pytest.raises(WrongAnswerError, match=r"TARGET holds another model than EXPORT: 4 of 4 golden"):
        preflight(golden, golden, {0, 1, 2, 3})


def test_requests_that_fail_are_the_run_s_to_judge() -> None:
    golden = toy_golden()
    client = preflight(golden, golden, {0, 1, 2, 3}, failure=(Rejected("no such signature", "NOT_FOUND"),))
    assert len(client.calls) == 1


@pytest.mark.parametrize("code", ["400", "INVALID_ARGUMENT"])
def test_requests_that_a_smaller_model_finds_invalid_say_so(code: str) -> None:
    """The run failed on every request, and said: no request got an answer; check the server."""
    golden, client = toy_golden(), FakeServingClient(lambda _: {})
    check = Preflight(golden, "score", "bert", "EXPORT").require_same_model
    client.fail(*[Rejected("503 is not in [0, 163)", code)] * SENTENCES)
    with pytest.raises(TargetError, match=r"TARGET refuses .* of EXPORT, .* --model-dir .*\[0, 163\)"):
        check(client, "TARGET", 1.0, accepted=True)
    # A gate judges it itself: a candidate that refuses everything is a regression.
    client.fail(*[Rejected("503 is not in [0, 163)", code)] * SENTENCES)
    check(client, "TARGET", 1.0)


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        ("400", TargetError, r"refuses the golden sentences of my-model/1; .* --model-dir \(the .* \[0, 163\)"),
        ("INVALID_ARGUMENT", TargetError, "--model-dir"),
        ("NOT_FOUND", Rejected, "^the server"),
    ],
)
def test_verify_says_it_too(monkeypatch: pytest.MonkeyPatch, code: str, error: type[Exception], text: str) -> None:
    def refuse(*_: Any) -> Any:
        raise Rejected("the server refused 503, not in [0, 163)", code)

    monkeypatch.setattr("bench.cli.verify.verify", refuse)
    model: Any = SimpleNamespace(golden=toy_golden(), version_dir=Path("my-model/1"))
    with pytest.raises(error, match=text):
        verify_server(SimpleNamespace(), model, SimpleNamespace(part=str))  # type: ignore[arg-type]


def test_one_wrong_answer_before_a_failure_is_not_another_model() -> None:
    golden = toy_golden()
    preflight(golden, golden, {0, 1, 2, 3}, failure=(None, Rejected("overloaded", "UNAVAILABLE")))


def test_a_golden_file_of_one_sentence() -> None:
    golden = toy_golden(sentences=1)
    assert len(preflight(golden, golden, set()).calls) == 1
    assert LOG_PROB in GoldenChecker(golden, [(0,)], "score").outputs(0)


def test_a_model_folder_of_another_model(server: dict[str, str], tmp_path: Path, capfd: Any) -> None:
    """The same words and shape, other weights: the checkpoint on the server is not the one that was exported."""
    golden = other_model(other_model(read_golden(CLIENT_FOLDER).golden))
    folder = write_model_dir(tmp_path / "third", golden)
    code, _, err = said("run", "rest", "--target", server["rest"], "--duration", "1s", "--model-dir", str(folder))
    assert code == 1
    assert "another model" in err + capfd.readouterr().err
