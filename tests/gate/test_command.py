import argparse
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.bert.contract.golden import GoldenSentence
from bench.bert.text.sentence import EncodedSentence
from bench.cli import main
from bench.cli.parser import Parser
from bench.core.errors import UsageError
from bench.gate.aa_test_store import AATestResult, known_aa_test, load_key, store_aa_test
from bench.gate.cli.arguments.gate import add_arguments, live_options
from bench.gate.cli.arguments.options import read_plan_options
from bench.gate.spec import GateSpec, Variant
from bench.gate.types import make_plan
from bench.results.records import Outcome
from bench.server.running import free_ports
from bench.serving.target import parse_target
from tests.support.synthetic_runs import ENVIRONMENT, WORKLOAD, exponential, simulate, write_run
from tests.support.toy_golden import toy_golden, write_model_dir

ARRIVALS = "constant:rate=60"


def call(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return main(words, out, err), out.getvalue(), err.getvalue()


def stored(root: Path, mean: float = 0.003, seed: int = 1, outcome: Outcome | None = None, **manifest: Any) -> str:
    for repeat in range(5):
        workload = replace(WORKLOAD, seed=seed + repeat, duration=15.0, warmup=1.0)
        requests = simulate(ARRIVALS, workload, exponential(mean))
        if outcome is not None:
            requests.outcome = [outcome] * requests.due.size
        write_run(root, requests, ARRIVALS, workload, slug=f"run-{repeat}", **manifest)
    return str(root)


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> str:
    return stored(tmp_path_factory.mktemp("gate") / "baseline")


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_model_dir(tmp_path / "model"))


def test_pass_regression_and_their_files(baseline: str, tmp_path: Path) -> None:
    files = {name: tmp_path / f"gate.{name}" for name in ("markdown", "junit", "json")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    for path in files.values():
        path.symlink_to(tmp_path / f"there-{path.name}")
    slow = stored(tmp_path / "slow", 0.009, 20)
    code, out, err = call("gate", "--baseline", baseline, "--candidate", slow, *options)
    assert code == 1
    assert all(path.is_symlink() for path in files.values())
    assert out.splitlines()[-1].startswith("REGRESSION: latency p50 +")
    assert "false alarms at most 5 %" in out
    assert err.count("\n") == 1
    assert "the candidate is worse" in err
    assert "--out" not in err
    assert "Gate: REGRESSION" in files["markdown"].read_text()
    assert b"<failure" in files["junit"].read_bytes()
    assert orjson.loads(files["json"].read_bytes())["exit_code"] == 1
    equal = stored(tmp_path / "equal", seed=50)
    code, out, err = call("gate", "--baseline", baseline, "--candidate", equal, "--min-effect", "50%")
    assert (code, err) == (0, ""), out
    assert out.splitlines()[-1].startswith("PASS: ")


def test_never_pass_without_data(baseline: str, tmp_path: Path) -> None:
    empty, version = tmp_path / "empty", tmp_path / "model" / "1"
    empty.mkdir()
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"")
    dead = stored(tmp_path / "dead", outcome=Outcome.TIMEOUT)
    other = stored(tmp_path / "other", environment=replace(ENVIRONMENT, host="b", boot_id="2", cores=4))
    for candidate, expected, text in (
        (str(empty), 2, "holds neither runs nor model versions"),
        (str(version), 2, f"is one version of a model; give the folder above it: {version.parent}"),
        (dead, 1, "to the candidate failed (timeout: "),
        (other, 3, "environment.cores: 2 against 4"),
        (str(tmp_path / "missing"), 2, "missing; give a run set, a model folder or a target like embedded or http"),
        ("main", 2, "no folder main; give a run set, a model folder or a target like embedded or http"),
        ("embeded", 2, "no folder embeded; did you mean embedded?"),
        ("binary", 2, "binary needs the path of a tensorflow_model_server"),
        (baseline, 2, "5 runs on both sides"),
        ("http://", 2, "has no host"),
        ("estimator", 2, "not a server"),
    ):
        code, out, err = call("gate", "--baseline", baseline, "--candidate", candidate)
        assert (code, err.count("\n")) == (expected, 1), candidate
        assert text in err
        assert "PASS:" not in out


def test_runs_that_are_on_both_sides_are_refused_be_they_copies(baseline: str, tmp_path: Path) -> None:
    """A run agrees with itself, whatever the server does: a PASS of it would say nothing."""
    store = tmp_path / "store"
    assert call("baseline", "add", baseline, "--label", "main", "--promote", "--store", str(store))[0] == 0
    shutil.copytree(baseline, tmp_path / "copy")
    (tmp_path / "link").symlink_to(baseline)
    mixed = Path(stored(tmp_path / "mixed", seed=70))
    shutil.copytree(next(Path(baseline).iterdir()), mixed / "renamed")
    for candidate in (baseline, f"{baseline}/.", tmp_path / "copy", tmp_path / "link", store, mixed):
        for sides in ((baseline, str(candidate)), (str(candidate), baseline)):
            code, out, err = call("gate", "--baseline", sides[0], "--candidate", sides[1])
            assert (code, out) == (2, ""), candidate
            assert "on both sides" in err
    code, _, err = call("gate", "--baseline", str(store), "--candidate", str(store))
    assert (code, "5 runs on both sides" in err) == (2, True)
    shutil.copytree(next(mixed.iterdir()), mixed / "twice")
    code, _, err = call("gate", "--baseline", str(tmp_path / "copy"), "--candidate", str(mixed))
    assert (code, "is twice in" in err) == (2, True)


def test_a_dead_target_is_no_regression(model: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    target = f"grpc://127.0.0.1:{port}"
    junit = tmp_path / "gate.xml"
    code, out, err = call(
        "gate", "--baseline", target, "--candidate", target, "--model-dir", model, "--junit", str(junit)
    )
    assert code == 4
    assert out.splitlines()[-1].startswith("TARGET_FAILED: the baseline never ran: ")
    assert str(port) in err
    assert b"<error" in junit.read_bytes()


def test_one_side_live_and_one_stored_is_refused(baseline: str, model: str) -> None:
    code, _, err = call("gate", "--baseline", baseline, "--candidate", model, "--model-dir", model)
    assert code == 2
    assert "one side is stored and the other is live" in err


def test_options_of_live_gates_are_refused_with_stored_runs(baseline: str, tmp_path: Path) -> None:
    words = ("gate", "--baseline", baseline, "--candidate", stored(tmp_path / "equal", seed=50), "--min-effect", "50%")
    for options, text in (
        (("--warmup", "5s"), "--warmup has no effect on stored runs, which were made before; leave it out"),
        (("--seed=1", "--protocol", "rest"), "--protocol, --seed have no effect on stored runs"),
        (("--header", "a:b", "--candidate-flag=--x"), "--candidate-flag, --header have no effect on stored runs"),
    ):
        code, out, err = call(*words, *options)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert text in err


def test_out_has_the_verdict_on_stored_runs(baseline: str, tmp_path: Path) -> None:
    """As in the templates for CI, whose sides may be stored; any verdict comes within --max-time."""
    slow = stored(tmp_path / "slow", 0.009, 20)
    words = ("--baseline", baseline, "--candidate", slow, "--max-time", "5m", "--out", str(tmp_path / "out"))
    code, _, err = call("gate", *words)
    (folder,) = (tmp_path / "out").iterdir()
    assert (code, err.endswith(f"; the verdict is in {folder}\n")) == (1, True)
    assert sorted(entry.name for entry in folder.iterdir()) == ["gate.html", "gate.json"]
    assert orjson.loads((folder / "gate.json").read_bytes())["verdict"] == "REGRESSION"
    assert call("gate", "history", str(tmp_path / "out"))[1].startswith(f"{folder.name}: REGRESSION: ")


def test_settings_of_live_gates_do_not_keep_stored_runs_from_a_verdict(
    baseline: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are defaults for all gates."""
    candidate = stored(tmp_path / "equal", seed=50)
    (tmp_path / "bertbench.toml").write_text('[gate]\nmax-time = "10m"\nheader = ["a:b"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERTBENCH_ARRIVALS", "poisson:rate=50")
    code, _, err = call("gate", "--baseline", baseline, "--candidate", candidate, "--min-effect", "50%")
    assert (code, err) == (0, "")


def test_live_options_are_those_of_the_servers_and_the_load() -> None:
    found = live_options()
    assert {"warmup", "run-time", "arrivals", "protocol", "signature", "model-dir", "seed"} <= found
    assert {"server-flag", "baseline-flag", "candidate-header", "ca-cert", "request-timeout", "no-preflight"} <= found
    assert not found & {
        "baseline",
        "candidate",
        "min-effect",
        "metrics",
        "max-time",
        "out",
        "html",
        "junit",
        "json",
        "quiet",
    }


def test_models_with_other_sentences_are_refused(tmp_path: Path) -> None:
    first, second = (str(write_model_dir(tmp_path / str(seed), toy_golden(seed=seed))) for seed in (1, 2))
    code, _, err = call("gate", "--baseline", first, "--candidate", second)
    assert code == 2
    assert "sentence 1 of the two golden files differs" in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: replace(one, pieces=("The", *one.pieces[1:])), "is 'The' with the other"),
        (lambda one: replace(one, token_ids=(1 << 20, *one.token_ids[1:])), "and 1048576 with the other"),
        (lambda one: EncodedSentence(one.text, ("a",), (7,), (0,)), "is 'a' with the other"),
        (
            lambda one: EncodedSentence(one.text, one.pieces[:-1], one.token_ids[:-1], one.word_ids[:-1]),
            "WordPieces, and ",
        ),
    ],
)
def test_tokenizers_that_differ_are_named_as_such(
    tmp_path: Path, change: Callable[[EncodedSentence], EncodedSentence], said: str
) -> None:
    """One text, two requests; the message showed the text twice and spoke of other sentences."""
    golden = toy_golden()
    sentence = change(golden.sentences[0].sentence)
    changed = GoldenSentence(sentence, golden.sentences[0].log_prob[: sentence.num_pieces])
    other = replace(golden, sentences=(changed, *golden.sentences[1:]))
    sides = [str(write_model_dir(tmp_path / name, one)) for name, one in (("a", golden), ("b", other))]
    code, _, err = call("gate", "--baseline", sides[0], "--candidate", sides[1])
    assert code == 2
    assert "the tokenizers of the two models differ: in sentence 1" in err
    assert said in err


@pytest.mark.parametrize(
    ("baseline_is", "candidate", "refused"),
    [
        ("binary:/s", "binary:/s", "--baseline binary:/s"),
        ("docker:cpu", "embedded", "--baseline docker:cpu"),
        ("MODEL", "http://127.0.0.1:1", "--candidate http://127.0.0.1:1"),
        ("embedded", "MODEL", "--baseline embedded"),
    ],
)
def test_the_model_of_a_target_is_not_guessed(model: str, baseline_is: str, candidate: str, refused: str) -> None:
    """It was the demo model, and the other side's sentences were blamed for not being its."""
    sides = [model if side == "MODEL" else side for side in (baseline_is, candidate)]
    code, out, err = call("gate", "--baseline", sides[0], "--candidate", sides[1])
    assert (code, out) == (2, "")
    assert err == f"bertbench: the model of {refused} is not known; name the folder of its export with --model-dir\n"
    code, _, err = call("gate", "calibrate", "--target", "binary:/s")
    assert (code, "the model of --target binary:/s is not known" in err) == (2, True)


def test_an_effect_below_what_the_machine_shows_is_refused_with_the_figure(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = AATestResult(20, 0, 0, 300.0, 0.03, 2.5, "2026-01-31T12:00:00Z")
    variant = Variant("model", parse_target("embedded"), Path(model))
    key = load_key(GateSpec(baseline=variant, candidate=variant))
    store_aa_test(key, found)
    words = ["gate", "--baseline", model, "--candidate", model, "--min-effect"]
    code, _, err = call(*words, "2%")
    assert code == 2
    assert "--min-effect 2% is below the smallest effect of 3 % that this machine shows in 5" in err
    store_aa_test(key, replace(found, smallest=None))
    assert "calibrate again on a quieter machine" in call(*words, "2%")[2]


def test_a_calibration_is_for_one_precision(model: str, tmp_path: Path) -> None:
    """The same weights in bfloat16 take another time."""
    reduced = write_model_dir(tmp_path / "reduced", replace(toy_golden(), precision="bfloat16"))
    sides = [Variant("model", parse_target("embedded"), folder) for folder in (Path(model), reduced)]
    assert len({load_key(GateSpec(baseline=side, candidate=side)) for side in sides}) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # The smallest effect of 3 % is that of the median, and four times as large for p99.
        (("--min-effect", "5%", "--metrics", "errors"), ""),
        (("--min-effect", "1%", "--metrics", "cpu,memory,errors"), ""),
        (("--min-effect", "3%", "--metrics", "p99"), ""),
        (("--min-effect", "2%", "--metrics", "p99"), "--min-effect p99=8% is below the smallest effect of 12 %"),
        (("--min-effect", "p95=5%", "--metrics", "p95,throughput"), "p95=5% is below the smallest effect of 6 %"),
        (("--min-effect", "2%"), "--min-effect 2% is below the smallest effect of 3 % that this machine shows in 5"),
    ],
)
def test_a_calibration_is_held_against_what_it_has_measured(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    """It slows latencies and throughput, by effects on the scale of the median."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    variant = Variant("model", parse_target("embedded"), Path(model))
    found = AATestResult(20, 0, 0, 300.0, 0.03, 2.5, "2026-01-31T12:00:00Z")
    given = read_plan_options(options(*words))
    spec = GateSpec(baseline=variant, candidate=variant, **given)
    store_aa_test(load_key(spec), found)
    if not said:
        assert known_aa_test(spec) == found
        return
    with pytest.raises(UsageError, match=re.escape(said)):
        known_aa_test(spec)


def test_a_calibration_that_found_nothing_refuses_nothing_that_it_did_not_measure(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    variant = Variant("model", parse_target("embedded"), Path(model))
    nothing = AATestResult(20, 0, 0, 300.0, None, 2.5, "2026-01-31T12:00:00Z")
    spec = GateSpec(baseline=variant, candidate=variant, metrics=("errors", "memory"))
    store_aa_test(load_key(spec), nothing)
    assert known_aa_test(spec) == nothing
    with pytest.raises(UsageError, match="none was found"):
        known_aa_test(replace(spec, metrics=("errors", "p95")))


def test_a_calibration_is_for_one_kind_of_server_its_flags_and_one_signature(model: str) -> None:
    """A gate named false alarms that were measured on another server, which restarts at other times."""

    def key(target: str, *flags: str, **spec: Any) -> str:
        variant = Variant(target, parse_target(target), Path(model), flags)
        return load_key(GateSpec(baseline=variant, candidate=variant, **spec))

    same = key("embedded")
    others = [
        key("embedded", signature="serving_default"),
        key("embedded", "--enable_batching=true"),
        key("docker:cpu"),
        key("docker:cpu,cpus=2"),
        key("docker:gpu"),
        key("binary:/a"),
        key("grpc://127.0.0.1:8500"),
    ]
    assert len({same, *others}) == 1 + len(others)
    # Where it lies is no other server: ports and paths are those of a day.
    assert key("binary:/a") == key("binary:/b")
    assert key("grpc://127.0.0.1:8500") == key("grpc://127.0.0.1:8600")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "needs both sides"),
        (["--baseline", "embedded"], "needs both sides"),
        (["--baseline", "embedded", "--candidate", "embedded", "--min-effect", "p98=5%"], "no gate metric 'p98'"),
        (["--baseline", "embedded", "--candidate", "embedded", "--min-effect", "much"], "not a fraction"),
        (["--baseline", "embedded", "--candidate", "embedded", "--metrics", "p98"], "no gate metric p98"),
        (["--baseline", "embedded", "--candidate", "embedded", "--min-effect", "0"], "must be above 0"),
        (["history", "/nowhere"], "no run folder"),
        (["calibrate", "--gates", "0"], "--gates: 0 is out of range"),
    ],
)
def test_bad_options_get_one_line(words: list[str], text: str) -> None:
    code, _, err = call("gate", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert text in err


def options(*words: str) -> argparse.Namespace:
    parser = Parser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_smallest_effects_and_metrics_from_options() -> None:
    found = read_plan_options(options("--min-effect", "2%", "--min-effect", "p99=30%", "--metrics", "p50, errors"))
    assert found == {"min_effect": 0.02, "min_effects": {"p99": 0.3}, "metrics": ("p50", "errors")}
    assert set(make_plan(0.05, {}, ("p50", "errors")).min_effects) == {"p50", "errors"}
    with pytest.raises(UsageError):
        read_plan_options(options("--min-effect", "p99=x"))


def test_baseline_store_from_the_command_line(baseline: str, tmp_path: Path) -> None:
    store = ["--store", str(tmp_path / "store")]
    assert call("baseline", "list", *store)[1].endswith("holds no baseline yet\n")
    assert call("baseline", "add", baseline, "--label", "main", "--promote", *store)[0] == 0
    bad = stored(tmp_path / "bad", outcome=Outcome.WRONG_ANSWER)
    code, _, err = call("baseline", "add", bad, "--label", "bad", "--promote", *store)
    assert (code, err.count("\n")) == (1, 1)
    assert "stored but not promoted" in err
    listing = call("baseline", "list", *store)[1].splitlines()
    assert [line.split()[-1] for line in listing[1:]] == ["promoted", "failed"]
    assert call("baseline", "promote", "bad", *store)[0] == 2
    assert "run-3" in call("baseline", "show", *store)[1]
    slow = stored(tmp_path / "slow", 0.009, 20)
    assert call("gate", "--baseline", str(tmp_path / "store"), "--candidate", slow)[0] == 1


def test_history_from_the_command_line(tmp_path: Path) -> None:
    for index in range(8):
        workload = replace(WORKLOAD, seed=index, duration=8.0, warmup=1.0)
        started = f"2026-01-{index + 1:02d}T12:00:00.000000Z"
        write_run(tmp_path, simulate(ARRIVALS, workload), ARRIVALS, workload, slug=f"r-{index}", started=started)
    code, out, err = call("gate", "history", str(tmp_path))
    assert (code, err) == (0, "")
    assert "8 runs" in out
    assert "by chance" in out
    assert (tmp_path / "history.png").is_file()


def test_the_verdict_of_a_gate_on_stored_runs_hides_no_run_beside_it(baseline: str, tmp_path: Path) -> None:
    for index in range(8):
        workload = replace(WORKLOAD, seed=index, duration=8.0, warmup=1.0)
        started = f"2026-01-{index + 1:02d}T12:00:00.000000Z"
        write_run(tmp_path, simulate(ARRIVALS, workload), ARRIVALS, workload, slug=f"r-{index}", started=started)
    slow = stored(tmp_path.with_name(f"{tmp_path.name}-slow"), 0.009, 20)
    assert call("gate", "--baseline", baseline, "--candidate", slow, "--out", str(tmp_path))[0] == 1
    code, out, err = call("gate", "history", str(tmp_path))
    assert (code, err) == (0, "")
    assert ": REGRESSION: " in out
    assert "8 runs" in out


def test_history_names_runs_without_answers_and_the_verdicts_of_stored_gates(tmp_path: Path) -> None:
    """A run that failed has no latency; it must not take the others' series with it."""
    for index in range(9):
        workload = replace(WORKLOAD, seed=index, duration=8.0, warmup=1.0, scenario="gate-candidate")
        requests = simulate(ARRIVALS, workload)
        if index == 4:
            requests.outcome = [Outcome.REJECTED] * requests.due.size
        started = f"2026-01-{index + 1:02d}T12:00:00.000000Z"
        folder = tmp_path / f"{index}-gate"
        write_run(folder, requests, ARRIVALS, workload, slug="candidate", started=started)
        kind, reason = ("REGRESSION", "all failed") if index == 4 else ("PASS", "no metric is worse")
        (folder / "gate.json").write_bytes(orjson.dumps({"format": 2, "verdict": kind, "reason": reason}))
    code, out, err = call("gate", "history", str(tmp_path))
    assert (code, err) == (0, "")
    assert "4-gate: REGRESSION: all failed" in out
    assert "requests failed; it is excluded" in out
    assert "8 runs" in out
    assert "p50" in out
    for folder in sorted(tmp_path.glob("*-gate"))[2:]:
        shutil.rmtree(folder)
    code, out, err = call("gate", "history", str(tmp_path))
    assert (code, err) == (0, "")
    assert "1-gate: PASS: no metric is worse" in out
    assert "no change points: a history needs" in out
    (tmp_path / "0-gate" / "gate.json").write_text("{")
    code, _, err = call("gate", "history", str(tmp_path))
    assert (code, "gate.json is not JSON" in err) == (2, True)
