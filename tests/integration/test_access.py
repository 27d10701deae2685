"""Every command against a server that wants TLS of a private authority, a path prefix and a token."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from bench.bert.contract.exported_model import ExportedModel
from bench.capacity.experiment import experiment_design
from bench.capacity.queue.latency_table import Effort
from bench.cli import main
from bench.results.run_reader import find_runs
from bench.server.lifecycle import RunningServer
from tests.capacity.test_capacity_live import SHORT as SHORT_SWEEP
from tests.support.debian import installed
from tests.support.guarded_server import HEADER, Guarded, guarded_server
from tests.support.locust_process import command as locust_command
from tests.support.locust_process import environment
from tests.support.programmed_servers import TLS

pytestmark = pytest.mark.long(140)

TOKEN = 'token; with "all", that=HTTP:allows'
CA = ("--ca-cert", str(TLS / "ca.pem"))
CLIENT = ("--client-cert", str(TLS / "server.pem"), "--client-key", str(TLS / "server.key"))
GIVEN = ("--header", f"{HEADER}:env:ACCESS_TOKEN")
SCHEMES = ("http", "https", "grpc", "grpcs")
# How well the model fits is not what is looked at.
SHORT = replace(
    SHORT_SWEEP,
    step=0.5,
    knee_seconds=0.6,
    hold_out=(0.5, 0.7),
    hold_out_seconds=0.6,
    replicates=4,
    effort=Effort(500),
    reference=Effort(500, 4),
)


@dataclass(frozen=True)
class World:
    """A guarded server and the model behind it."""

    guarded: Guarded
    model_dir: str
    text: str


@pytest.fixture(scope="module")
def world(
    demo_server: RunningServer, demo_model: ExportedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("access")
    (folder / "text.tsv").write_text(demo_model.golden.sentences[0].sentence.text + "\n")
    assert demo_server.rest is not None
    assert demo_server.grpc is not None
    with ExitStack() as stack:
        guarded = stack.enter_context(guarded_server(demo_server.rest, demo_server.grpc, TOKEN))
        yield World(guarded, str(demo_model.model_dir), str(folder / "text.tsv"))


@pytest.fixture(scope="module")
def mutual(world: World, demo_server: RunningServer) -> Iterator[World]:
    """The same, and the client needs a certificate."""
    with guarded_server(str(demo_server.rest), str(demo_server.grpc), TOKEN, mutual=True) as guarded:
        yield replace(world, guarded=guarded)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token in a variable, and a short sweep."""
    monkeypatch.setenv("ACCESS_TOKEN", TOKEN)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setattr("bench.capacity.cli.sweep.QUICK", SHORT)
    monkeypatch.setattr("bench.capacity.plan.replica_validation._REQUESTS", 2000)
    # Both replicas are one server here, which the rates of two would overload until nothing is answered.
    steps = experiment_design.replica_steps
    monkeypatch.setattr(
        experiment_design, "replica_steps", lambda scale, rate, seed, _: steps(scale, rate, seed, (0.2, 0.3))
    )
    monkeypatch.setattr(experiment_design, "REPLICA_FURTHER", {})


def protocol_of(target: str) -> str:
    return "grpc" if target.startswith("grpc") else "rest"


LOAD = ("--max-time", "3s", "--warmup", "100ms", "--run-time", "100ms")
COMMANDS: dict[str, Callable[[World, str, Path], tuple[str, ...]]] = {
    "score": lambda world, target, out: ("score", world.text, "--target", target),
    "verify": lambda world, target, out: ("verify", "--target", target, "--sentences", "2"),
    "run": lambda world, target, out: (
        *("run", protocol_of(target), "--target", target, "--duration", "500ms", "--users", "2", "--out", str(out)),
    ),
    "gate": lambda world, target, out: ("gate", "--baseline", target, "--candidate", target, *LOAD),
    "gate calibrate": lambda world, target, out: ("gate", "calibrate", "--target", target, "--gates", "1", *LOAD),
    "capacity": lambda world, target, out: (
        *("capacity", "--quick", "--target", target, "--protocol", protocol_of(target), "--out", str(out)),
        *("--replicas", "2", "--replica-target", target),
    ),
}
# A gate of three seconds has no verdict, and one of a server with itself may have any.
CODES = {"gate": {0, 1, 3}, "gate calibrate": {0, 3}, "capacity": {0, 1, 3}}


def call(*words: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    return main(words, out, err), out.getvalue(), err.getvalue()


def locust(target: str, world: World, out: Path, *words: str) -> tuple[int, str, str]:
    scenario = {"rest": "rest.py", "grpc": "grpc_api.py"}[protocol_of(target)]
    given = ("--headless", "-u", "2", "-t", "1s", "--host", target, "--results", str(out), "--only-summary")
    done = subprocess.run(
        [*locust_command(scenario, *given), "--model-dir", world.model_dir, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", [*COMMANDS, "locust"])
def test_each_command_over_each_scheme(
    name: str, scheme: str, world: World, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "gate calibrate":
        # What it stores of so short gates is nothing to keep.
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    target = world.guarded.targets[scheme]
    refused, passed = world.guarded.refused[scheme], world.guarded.passed[scheme]
    access = (*GIVEN, *(CA if scheme.endswith("s") else ()))
    if name == "locust":
        code, out, err = locust(target, world, tmp_path / "out", *access)
    else:
        code, out, err = call(*COMMANDS[name](world, target, tmp_path / "out"), "--model-dir", world.model_dir, *access)
    said = out + err + "".join(capfd.readouterr())
    assert code in CODES.get(name, {0}), said
    assert world.guarded.passed[scheme] > passed
    assert world.guarded.refused[scheme] == refused, "each request has the token, those before a run too"
    for run in find_runs([tmp_path / "out"]) if name in ("run", "locust") else ():
        assert run.manifest.headers == (HEADER,)
        assert run.manifest.workload.tls == scheme.endswith("s")
        if protocol_of(target) == "rest":
            assert "/monitoring/prometheus/metrics" in world.guarded.paths, "the server's page is below the prefix too"


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
@pytest.mark.parametrize("name", ["score", "verify", "run", "gate"])
def test_a_server_that_asks_for_a_certificate(
    name: str, scheme: str, mutual: World, tmp_path: Path, capfd: Any
) -> None:
    words = COMMANDS[name](mutual, mutual.guarded.targets[scheme], tmp_path / "out")
    access = ("--model-dir", mutual.model_dir, *GIVEN, *CA)
    passed = mutual.guarded.passed[scheme]
    code, _, err = call(*words, *access)
    said = err + capfd.readouterr().err
    assert code == 4, said
    assert mutual.guarded.passed[scheme] == passed
    assert len([line for line in said.splitlines() if not line.startswith("gate:")]) == 1, said
    assert "rejects a client without a certificate" in said
    assert "give --client-cert and --client-key" in said
    code, _, err = call(*words, *access, *CLIENT)
    assert code in CODES.get(name, {0}), err
    assert mutual.guarded.passed[scheme] > passed


def test_a_certificate_that_the_server_does_not_trust(mutual: World, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    made = [installed("openssl"), *request, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True)
    for scheme in ("https", "grpcs"):
        words = COMMANDS["score"](mutual, mutual.guarded.targets[scheme], tmp_path)
        own = ("--client-cert", str(cert), "--client-key", str(key))
        code, _, err = call(*words, "--model-dir", mutual.model_dir, *GIVEN, *CA, *own)
        assert code == 4
        assert "rejects the certificate of --client-cert (" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("target", ["embedded", "http://127.0.0.1:1", "grpc://127.0.0.1:1"])
def test_the_time_to_be_ready(target: str, world: World, tmp_path: Path) -> None:
    words = COMMANDS["score"](world, target, tmp_path)
    code, _, err = call(*words, "--model-dir", world.model_dir, "--ready-timeout", "100ms")
    assert code == 4
    assert "was not ready in 0.1 s" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
@pytest.mark.parametrize("name", ["score", "verify", "run", "gate", "capacity"])
def test_an_authority_that_is_not_known_is_one_line(
    name: str, scheme: str, world: World, tmp_path: Path, capfd: Any
) -> None:
    words = COMMANDS[name](world, world.guarded.targets[scheme], tmp_path / "out")
    code, _, err = call(*words, "--model-dir", world.model_dir, *GIVEN)
    said = err + capfd.readouterr().err
    assert code == 4, said
    assert "has a certificate that is not trusted" in said
    assert "name its authority with --ca-cert" in said
    assert len([line for line in said.splitlines() if not line.startswith("capacity:")]) == 1, said


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["score", "verify", "run", "gate", "capacity"])
def test_a_wrong_token_is_one_line_without_it(
    name: str, scheme: str, world: World, tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCESS_TOKEN", "another-token")
    words = COMMANDS[name](world, world.guarded.targets[scheme], tmp_path / "out")
    code, out, err = call(*words, "--model-dir", world.model_dir, *GIVEN, *(CA if scheme.endswith("s") else ()))
    said = err + capfd.readouterr().err
    assert code == 4, said
    assert "another-token" not in said + out
    assert HEADER in said or "UNAUTHENTICATED" in said, said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ("verify", "--target", "http://h:1", *CA),
            "certificates have no effect on http://h:1, which is not encrypted",
        ),
        (("score", "-", "--target", "estimator", *GIVEN), "have no effect on the estimator"),
        (("run", "rest", *CA), "certificates have no effect on embedded"),
        (("run", "grpc", "--target", "grpc://h:1", "--header", "X-Bin:a", "--header", "x-bin:b"), "is given twice"),
        (
            ("run", "grpc", "--target", "grpc://h:1", "--header", "X-A-Bin:a"),
            "the header X-A-Bin cannot be sent over gR",
        ),
        (("gate", "--baseline", "grpc://h:1", "--candidate", "grpc://h:2", *CA), "on grpc://h:1 and grpc://h:2, which"),
        (("capacity", "--target", "http://h:1", "--client-cert", __file__), "needs its key"),
        (("verify", "--target", "https://h:1", "--ca-cert", "no.pem"), "no certificate file no.pem; check the path"),
        (("verify", "--target", "https://h:1", "--header", "X-A"), "--header: a header has no colon; write NAME:VALUE"),
        (("verify", "--target", "https://u:pass@h:1"), "'https://<redacted>' contains a user or a password"),
        (("verify", "--target", "https://h:1/?key=pass"), "'https://h:1/<redacted>' has a query"),
        (("verify", "--target", "https://h:1/v1/models/bert"), "leave it out from /v1 on"),
        (("demo", "--target", "https://h:1"), "unknown option --target"),
        (("calibrate", "--header", "X-A:b"), "unknown option --header"),
    ],
)
def test_what_has_no_effect_or_no_sense_is_refused(words: tuple[str, ...], reason: str, capsys: Any) -> None:
    try:
        code, _, err = call(*words)
    except SystemExit as ended:
        code, err = int(ended.code or 0), ""
    said = err + capsys.readouterr().err
    assert code == 2
    assert reason in said
    assert "pass" not in said.replace("password", "")
    assert said.count("\n") == 1


def test_the_authority_of_the_environment(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "ca.pem"))
    for scheme in ("https", "grpcs"):
        target = world.guarded.targets[scheme]
        code, _, err = call(*COMMANDS["score"](world, target, tmp_path), "--model-dir", world.model_dir, *GIVEN)
        assert (code, err) == (0, "")
    monkeypatch.setenv("SSL_CERT_FILE", "/not/there.pem")
    for scheme in ("https", "grpcs"):
        words = COMMANDS["score"](world, world.guarded.targets[scheme], tmp_path)
        code, _, err = call(*words, "--model-dir", world.model_dir, *GIVEN)
        assert code == 2
        assert err == "bertbench: SSL_CERT_FILE names /not/there.pem, which is not there; correct or unset it\n"


def test_each_side_of_a_gate_has_headers_of_its_own(world: World) -> None:
    target = world.guarded.targets["http"]
    refused = world.guarded.refused["http"]
    words = ("gate", "--baseline", target, "--candidate", target, "--model-dir", world.model_dir, *LOAD)
    code, out, _ = call(*words, "--header", f"{HEADER}:wrong", "--baseline-header", GIVEN[1])
    assert code == 4
    assert "the candidate never ran" in out
    assert "the baseline never ran" not in out
    assert world.guarded.refused["http"] > refused
    refused = world.guarded.refused["http"]
    code, _, _ = call(
        *words, "--header", f"{HEADER}:wrong", "--baseline-header", GIVEN[1], "--candidate-header", GIVEN[1]
    )
    assert code in CODES["gate"]
    assert world.guarded.refused["http"] == refused


def test_locust_without_the_token(world: World, tmp_path: Path) -> None:
    code, _, err = locust(world.guarded.targets["https"], world, tmp_path, "--header", f"{HEADER}:another-token", *CA)
    assert code == 4
    assert f"refuses the request with the headers {HEADER} (403); check their values" in err
    assert "another-token" not in err
    assert sys.executable not in err
