"""Candidates and baselines that are dead, in all ways: a verdict within `--max-time` and ten seconds, never a PASS."""

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from bench.cli import main
from bench.gate import interleaving
from bench.gate.ab_servers import ArmsFailed, open_ab_servers
from bench.gate.cli import gate as loaded_before_the_clock_runs
from bench.gate.live_gate import LiveGate
from bench.gate.spec import GateSpec, Variant
from bench.gate.types import VerdictKind
from bench.report.pages import escape_markdown
from bench.results.run_reader import find_runs
from bench.server.running import free_ports
from bench.serving.target import parse_target
from tests.support.failing_server import failing, listening
from tests.support.toy_golden import write_model_dir

pytestmark = pytest.mark.long(200)

# For what is over with --max-time, and for what is over before, however busy the machine is.
SHORT = 10.0
LONG = 60.0

assert loaded_before_the_clock_runs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_model_dir(tmp_path_factory.mktemp("model"))
    (folder / "1" / "variables").mkdir()
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        (folder / "1" / name).write_bytes(b"not read by these servers")
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> str:
    return failing(tmp_path_factory.mktemp("good"))


@contextmanager
def lateness() -> Iterator[list[float]]:
    """Seconds by which short sleeps end late meanwhile: what a busy machine adds to how long anything takes."""
    late: list[float] = []
    over = threading.Event()

    def doze() -> None:
        while not over.is_set():
            before = time.monotonic()
            time.sleep(0.05)
            late.append(time.monotonic() - before - 0.05)

    dozing = threading.Thread(target=doze)
    dozing.start()
    try:
        yield late
    finally:
        over.set()
        dozing.join()


def gate(
    model: Path, folder: Path, baseline: str, candidate: str, *words: str, max_time: float = SHORT
) -> tuple[int, str, str]:
    """Exit code, verdict line and reason of a gate, all of its files held against each other."""
    files = {name: folder / f"gate.{name}" for name in ("json", "junit", "markdown")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    options += ["--max-time", f"{max_time:g}s", "--warmup", "500ms", "--request-timeout", "4s", *words]
    sides = ["--baseline", baseline, "--candidate", candidate, "--model-dir", str(model)]
    out, err = io.StringIO(), io.StringIO()
    start = time.monotonic()
    with lateness() as late:
        code = main(["gate", *sides, *options], out, err)
    assert time.monotonic() - start - sum(late) < max_time + 10
    body = orjson.loads(files["json"].read_bytes())
    assert body["exit_code"] == code
    line = out.getvalue().splitlines()[-1]
    assert line.startswith(f"{body['verdict']}: {body['reason']}")
    assert ("false alarms" in line) == (body["false_alarms"]["bound"] is not None)
    assert f"Gate: {body['verdict']}" in files["markdown"].read_text()
    assert escape_markdown(body["reason"]) in files["markdown"].read_text()
    whole = ElementTree.parse(files["junit"]).find(".//testcase[@name='verdict']")
    assert whole is not None
    problem = whole.find("failure" if code == 1 else "error")
    assert problem is not None
    assert problem.get("message") == body["reason"]
    assert err.getvalue().splitlines()[-1].startswith("bertbench: ")
    return code, line, body["reason"]


@pytest.mark.parametrize(
    ("fault", "options", "code", "text"),
    [
        ({"refuses": 1}, "rest", 4, "the candidate never ran: "),
        ({"deaf": 1, "stubborn": 1}, "rest", 4, "the candidate never ran: "),
        ({"loading": 1}, "grpc", 4, "the candidate never ran: "),
        ({"dies_after": 0.2}, "rest", 1, "the candidate ended: "),
        ({"dies_at": 60}, "rest", 1, "the candidate ended: "),
        ({"dies_at": 60}, "grpc", 1, "the candidate ended: "),
        ({"dies_at": 30, "fresh": 1}, "grpc", 1, "the candidate "),
        ({"refuses": 1, "fresh": 1}, "rest", 1, "the candidate did not restart: "),
        ({"rejects_at": 0}, "rest", 1, "to the candidate failed (rejected"),
        ({"rejects_at": 0}, "grpc", 1, "to the candidate failed (rejected"),
        ({"unavailable_at": 0}, "grpc", 1, "to the candidate failed (unavailable"),
        ({"garbled": 1}, "rest", 1, "to the candidate failed (invalid_response"),
        ({"hangs_at": 0, "stubborn": 1}, "grpc", 1, "to the candidate failed (timeout"),
        ({"unavailable_at": 100, "fresh": 1}, "rest", 1, "the candidate "),
        ({"fails_every": 4}, "grpc", 1, "error ratio: "),
        ({"rejects_at": 0}, "grpc --metrics p50 --arrivals constant:rate=50", 1, "to the candidate failed (rejected"),
        ({"hangs_at": 0}, "rest --request-timeout 1h --arrivals closed:users=8", 1, "to the candidate failed (timeout"),
        ({"rejects_at": 0}, "grpc --warmup 1m", 1, "to the candidate failed (rejected"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_candidate_that_is_started_here(
    model: Path, good: str, tmp_path: Path, fault: dict[str, int], options: str, code: int, text: str
) -> None:
    words = ("--protocol", *options.split())
    # These two are over with --max-time, all others before.
    over = "--request-timeout 1h" in options or "--warmup 1m" in options
    max_time = SHORT if code == 4 or over else LONG
    found, line, reason = gate(model, tmp_path, good, failing(tmp_path, **fault), *words, max_time=max_time)
    assert (found, text in reason) == (code, True), line


@pytest.mark.parametrize(
    ("fault", "text"),
    [({"refuses": 1}, "never ran"), ({"dies_at": 8}, "ended"), ({"rejects_at": 0}, "to the baseline failed")],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_baseline_that_is_dead_is_no_regression(
    model: Path, good: str, tmp_path: Path, fault: dict[str, int], text: str
) -> None:
    """Whether the candidate is well or just as dead."""
    for candidate, protocol in ((good, "rest"), (failing(tmp_path, **fault), "grpc")):
        baseline, words = failing(tmp_path, **fault), ("--protocol", protocol)
        code, line, reason = gate(model, tmp_path, baseline, candidate, *words, max_time=LONG)
        assert (code, "baseline" in reason, text in reason) == (4, True, True), line


@pytest.mark.parametrize(
    ("fault", "protocol"),
    [
        ({"killed_at": 150}, "rest"),
        ({"killed_at": 150}, "grpc"),
        ({"stopped_at": 150}, "rest"),
        ({"stopped_at": 150}, "grpc"),
        ({"rejects_at": 0}, "rest"),
        ({"hangs_at": 150}, "grpc"),
        ({"unavailable_at": 150}, "rest"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_a_candidate_that_somebody_else_started(
    model: Path, tmp_path: Path, fault: dict[str, int], protocol: str
) -> None:
    """It is killed or stopped in the midst of the pairs, or gives no more answers."""
    for name in ("base", "other"):
        (tmp_path / name).mkdir()
    with (
        listening(tmp_path / "base", model) as baseline,
        listening(tmp_path / "other", model, **fault) as candidate,
    ):
        sides, words = (baseline[protocol], candidate[protocol]), ("--protocol", protocol)
        code, line, reason = gate(model, tmp_path, *sides, *words, max_time=LONG)
    assert (code, "the candidate " in reason) == (1, True), line


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_an_address_where_there_is_no_such_server(model: Path, tmp_path: Path, protocol: str) -> None:
    (port,) = free_ports(1)
    nothing = {"rest": f"http://127.0.0.1:{port}", "grpc": f"grpc://127.0.0.1:{port}"}[protocol]
    words = ("--protocol", protocol)
    with listening(tmp_path, model) as here:
        swapped = {
            "rest": here["grpc"].replace("grpc://", "http://"),
            "grpc": here["rest"].replace("http://", "grpc://"),
        }[protocol]
        for candidate in (nothing, swapped):
            code, line, reason = gate(model, tmp_path, here[protocol], candidate, *words)
            assert (code, "the candidate never ran: " in reason) == (4, True), line
        code, line, reason = gate(model, tmp_path, nothing, here[protocol], *words)
        assert (code, "the baseline never ran: " in reason) == (4, True), line
        code, line, reason = gate(model, tmp_path, here[protocol], here[protocol], "--model-name", "other", *words)
        assert (code, "the baseline never ran: " in reason) == (4, True), line


def speak(connection: socket.socket, begin: bytes, more: bytes, pause: float) -> None:
    """Says something, and then something more until the other side goes; nothing more without a pause or a text."""
    with contextlib.suppress(OSError), connection:
        connection.sendall(begin)
        while more:
            connection.sendall(more)
            time.sleep(pause)
        connection.recv(1 << 20)
        connection.recv(1)


@contextmanager
def talker(begin: bytes, more: bytes, pause: float) -> Iterator[int]:
    """A server of no known protocol; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    words = (listener.accept()[0], begin, more, pause)
                    threading.Thread(target=speak, args=words, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize(
    ("begin", "more", "pause"),
    [
        (b"", b"", 0.0),
        (b"SSH-2.0-OpenSSH_9\r\n", b"", 0.0),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" ", 0.5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n", b" " * 65536, 0.0),
    ],
    ids=["silent", "ssh", "endless heads", "trickling body", "endless body"],
)
def test_an_address_where_something_else_talks(
    model: Path, tmp_path: Path, protocol: str, begin: bytes, more: bytes, pause: float
) -> None:
    with listening(tmp_path, model) as here, talker(begin, more, pause) as port:
        candidate = {"rest": f"http://127.0.0.1:{port}", "grpc": f"grpc://127.0.0.1:{port}"}[protocol]
        code, line, reason = gate(model, tmp_path, here[protocol], candidate, "--protocol", protocol)
    assert (code, "the candidate never ran: " in reason) == (4, True), line


def test_what_was_measured_is_stored_with_the_verdict(model: Path, good: str, tmp_path: Path) -> None:
    stored = tmp_path / "stored"
    gate(model, tmp_path, good, failing(tmp_path, dies_at=60), "--out", str(stored), max_time=LONG)
    (folder,) = stored.iterdir()
    assert orjson.loads((folder / "gate.json").read_bytes())["verdict"] == "REGRESSION"
    _, candidate = find_runs([folder])
    # Each process of the candidate answers 60 times at most.
    starts = len(next(tmp_path.glob("failing-dies_at*.starts")).read_text())
    assert 60 <= candidate.file.counts["ok"] <= 60 * starts
    assert candidate.file.counts["unavailable"] > 0
    gate(model, tmp_path, good, failing(tmp_path, refuses=1), "--out", str(tmp_path / "never"))
    (folder,) = (tmp_path / "never").iterdir()
    assert orjson.loads((folder / "gate.json").read_bytes())["verdict"] == "TARGET_FAILED"


def test_a_candidate_that_ends_at_its_start_never_passes_without_time(model: Path, good: str, tmp_path: Path) -> None:
    """A busy machine may not see it end in the two seconds that it has to become ready."""
    code, line, reason = gate(model, tmp_path, good, failing(tmp_path, refuses=1), "--max-time", "1ms")
    expected = {3: "a verdict needs 7; give more --max-time", 4: "the candidate never ran: "}
    assert expected[code] in reason, line


def test_too_little_time_for_good_servers_is_inconclusive(model: Path, good: str, tmp_path: Path) -> None:
    for seconds in ("1ms", "2s"):
        code, line, reason = gate(model, tmp_path, good, good, "--max-time", seconds)
        assert (code, "a verdict needs 7; give more --max-time" in reason) == (3, True), line
        assert line.endswith("s"), "no bound of false alarms without a pair"


@pytest.mark.parametrize(("fault", "text"), [({"dies_after": 6.0}, "ended"), ({"hangs_at": 300}, "stopped answering")])
def test_a_candidate_that_fails_after_a_pairs_time_does_not_pass(
    model: Path, good: str, tmp_path: Path, fault: dict[str, float], text: str
) -> None:
    """Each pair has processes of its own, none of which lives for long."""
    sides = [Variant(target, parse_target(target), model) for target in (good, failing(tmp_path, **fault))]
    spec = GateSpec(baseline=sides[0], candidate=sides[1], protocol="rest", seed=1, timeout=4.0, max_time=60.0)
    expected = pytest.raises(ArmsFailed) if text == "ended" else nullcontext()
    with expected as raised, open_ab_servers(spec) as opened:
        opened.interleaving.warm_up(0.1, run=0.1)
        found = LiveGate(spec).soak(opened)
    if raised is not None:
        assert f"the candidate {text}" in str(raised.value)
    else:
        assert found is not None
        assert "the only request to the candidate failed (timeout: 1)" in found.reason
        assert found.kind is VerdictKind.REGRESSION


def test_a_candidate_that_lives_is_asked_for_a_while_and_may_pass(
    model: Path, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No run is cut off, however busy the machine is.
    monkeypatch.setattr(interleaving, "_SLOWEST", 1e6)
    side = Variant(good, parse_target(good), model)
    spec = GateSpec(baseline=side, candidate=side, seed=1, max_time=2.0)
    with open_ab_servers(spec) as opened:
        opened.interleaving.warm_up(0.1, run=0.1)
        assert LiveGate(spec).soak(opened) is None
        pair = opened.interleaving.run_pair()
    assert opened.arms[1].asked > opened.arms[0].asked
    assert pair.candidate.requests == pair.baseline.requests, "what was asked beside the pairs does not count"


@pytest.mark.parametrize(
    "fault", [{"refuses": 1}, {"rejects_at": 0}, {"dies_at": 30}], ids=lambda fault: next(iter(fault))
)
def test_a_server_that_fails_cannot_be_calibrated(model: Path, tmp_path: Path, fault: dict[str, int]) -> None:
    out, err = io.StringIO(), io.StringIO()
    words = ["--target", failing(tmp_path, **fault), "--model-dir", str(model), "--max-time", f"{LONG:g}s"]
    assert main(["gate", "calibrate", *words, "--gates", "1", "--warmup", "500ms"], out, err) == 4
    assert err.getvalue().splitlines()[-1].startswith("bertbench: ")
    assert out.getvalue() == ""
