"""Scenarios under plain Locust, against a null server."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.load.selftest.null_server import null_server
from bench.results.blocks import PROTOCOL_CODES, WRONG_KIND_CODES
from tests.support.locust_process import locust
from tests.support.spoiling_proxy import Spoiler, spoiling_proxy
from tests.support.toy_golden import toy_golden, write_model_dir

pytestmark = pytest.mark.long(45)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def addresses(model_dir: Any) -> Iterator[Any]:
    with null_server(model_dir) as found:
        yield found


def at(addresses: Any, protocol: Any) -> Any:
    return ["--host", addresses[protocol]]


SCENARIO = {"rest": "rest.py", "grpc": "grpc_api.py"}


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_run_of_right_answers(protocol: str, model_dir: Any, addresses: Any, tmp_path: Path) -> None:
    words = ["--model-dir", str(model_dir), *at(addresses, protocol), "-u", "4", "-r", "4", "-t", "3s"]
    ended = locust(SCENARIO[protocol], tmp_path, *words)
    assert ended.code == 0, ended.err
    counts = ended.accounted()
    assert set(counts) == {"ok"}
    assert counts["ok"] > 20
    run = ended.run
    assert run.finished
    assert run.manifest.arrivals == "closed:users=4"
    assert run.manifest.workload.warmup == pytest.approx(0.3)
    columns = run.columns(["checked", "version", "parse", "due", "sent", "done", "warmup", "words"])
    assert columns["checked"].all()
    assert (columns["words"] > 0).all()
    assert (columns["sent"] >= columns["due"]).all()
    assert set(np.unique(columns["version"])) == ({1} if protocol == "grpc" else {-1})
    assert run.client_samples()["rss"].size >= 2
    assert "from due" in ended.out
    assert "from send" in ended.out
    assert "VALID" in ended.out
    assert ended.out.strip().endswith(str(run.path))


@pytest.mark.parametrize(
    ("arrivals", "words"),
    [
        ("poisson:rate=100", ["--transport", "requests"]),
        ("burst:base=20,peak=200,every=1s,length=200ms", ["--check-share", "50%"]),
        ("closed", ["--sentences-per-request", "3", "--signature", "serving_default"]),
    ],
)
def test_other_arrivals_transports_and_requests(
    arrivals: str, words: list[str], model_dir: Any, tmp_path: Path
) -> None:
    extra = [*words, "--arrivals", arrivals, "--model-dir", str(model_dir), "-u", "8", "-t", "2s", "--seed", "7"]
    signature = "serving_default" if "serving_default" in words else "score"
    with null_server(model_dir, signature, 3 if "3" in words else 1) as addresses:
        ended = locust("rest.py", tmp_path, *at(addresses, "rest"), *extra)
    assert ended.code == 0, ended.err
    assert set(ended.accounted()) == {"ok"}
    columns = ended.run.columns(["checked", "sentences"])
    assert ("50%" not in words) == columns["checked"].all()
    assert set(columns["sentences"].tolist()) == {3 if "3" in words else 1}
    assert ended.run.manifest.workload.seed == 7


def test_rest_and_grpc_by_turns(model_dir: Any, addresses: Any, tmp_path: Path) -> None:
    words = ["--grpc-host", addresses["grpc"], "--model-dir", str(model_dir), "-t", "3s", "-u", "8"]
    ended = locust("compare.py", tmp_path, *at(addresses, "rest"), *words, "--arrivals", "poisson:rate=60")
    assert ended.code == 0, ended.err
    ended.accounted()
    columns = ended.run.columns(["due", "protocol", "sentence"])
    order = np.argsort(columns["due"], kind="stable")
    protocol, sentence = columns["protocol"][order], columns["sentence"][order]
    pairs = len(order) // 2
    assert (sentence[0 : 2 * pairs : 2] == sentence[1 : 2 * pairs : 2]).all()
    assert (protocol[0 : 2 * pairs : 2] != protocol[1 : 2 * pairs : 2]).all()
    assert set(protocol.tolist()) == set(PROTOCOL_CODES.values())


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_with_another_model(protocol: str, model_dir: Any, tmp_path: Path) -> None:
    """The same sentences, other answers: each is a failure called `wrong_answer`, and the message names the option."""
    golden = toy_golden()
    others = tuple(dataclasses.replace(entry, log_prob=entry.log_prob - 0.5) for entry in golden.sentences)
    other = write_model_dir(tmp_path / "other", dataclasses.replace(golden, sentences=others))
    words = ["--model-dir", str(model_dir), "--no-preflight", "-u", "2", "-t", "2s", "--csv", str(tmp_path / "stats")]
    with null_server(other) as addresses:
        ended = locust(SCENARIO[protocol], tmp_path / "runs", *at(addresses, protocol), *words)
    assert ended.code == 1
    assert set(ended.accounted()) == {"wrong_answer"}
    failures = (tmp_path / "stats_failures.csv").read_text()
    assert "wrong_answer: drift" in failures
    assert failures.count("\n") == 2
    last = ended.err.strip().splitlines()[-1]
    assert "another model" in last
    assert "--model-dir" in last


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_every_spoilt_answer_is_found_and_none_invented(
    protocol: str, model_dir: Any, addresses: Any, tmp_path: Path
) -> None:
    spoiler = Spoiler(every=20)
    with spoiling_proxy(addresses, spoiler) as proxy:
        words = ["--model-dir", str(model_dir), "-u", "4", "-t", "3s", "--arrivals", "constant:rate=200"]
        # Its requests would be spoilt and counted too.
        words += ["--no-preflight"]
        ended = locust(SCENARIO[protocol], tmp_path, *at(proxy, protocol), *words)
    assert ended.code == 1
    counts = ended.accounted()
    codes = {code: str(kind) for kind, code in WRONG_KIND_CODES.items() if kind}
    kinds = Counter(codes[code] for code in ended.run.columns(["wrong_kind"])["wrong_kind"].tolist() if code)
    expected = {way: spoiler.done[way] for way in ("drift", "swap", "truncated", "shape", "not_finite")}
    assert kinds == expected
    assert min(expected.values()) >= 20
    assert counts["invalid_response"] == spoiler.done["garbled"]
    assert counts["ok"] == spoiler.done["right"]


def test_nobody_listens(model_dir: Any, tmp_path: Path) -> None:
    ended = locust("rest.py", tmp_path, "--model-dir", str(model_dir), "--host", "http://127.0.0.1:9", "-t", "2s")
    assert ended.code == 4
    assert ended.err.strip().splitlines()[-1].startswith("bertbench: http://127.0.0.1:9 does not answer")
    assert ended.left is None


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--model-dir", "nowhere"], "no model folder"),
        (["--model-dir", "MODEL", "--arrivals", "poisson:rate=x"], "rate"),
        (["--model-dir", "MODEL", "--arrivals", "trace:nowhere.csv"], "nowhere.csv"),
        (["--model-dir", "MODEL", "--signature", "score", "--padded"], "--padded"),
        (["--model-dir", "MODEL", "--transport", "carrier-pigeon"], "transport"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    words: list[str], reason: str, model_dir: Any, addresses: Any, tmp_path: Path
) -> None:
    given = [str(model_dir) if word == "MODEL" else word for word in words]
    ended = locust("rest.py", tmp_path, *at(addresses, "rest"), *given, "-t", "2s")
    assert ended.code == 2
    lines = [line for line in ended.err.splitlines() if line.startswith("bertbench:")]
    assert len(lines) == 1
    assert reason in lines[0]
    assert ended.left is None


@pytest.mark.parametrize("distributed", [False, True])
def test_locust_s_own_statistics_leave_the_warm_up_out(
    distributed: bool, model_dir: Any, addresses: Any, tmp_path: Path
) -> None:
    words = ["-u", "8", "-t", "6s", "--warmup", "4s", "--arrivals", "constant:rate=20"]
    if distributed:
        words += ["--processes", "2"]
    ended = locust("rest.py", tmp_path / "runs", "--model-dir", str(model_dir), *at(addresses, "rest"), *words)
    assert ended.code == 0, ended.err
    assert "4 s of it warm-up, which Locust's own statistics leave out" in ended.err
    found = re.search(r"Aggregated +(\d+) .*\| +([\d.]+) +[\d.]+ *$", ended.out + ended.err, re.MULTILINE)
    # 40 of 120 were due in the measured part; over the whole run they would be 6.7 a second at most.
    assert int(found[1]) == 40
    assert 8 < float(found[2]) < 40
    assert "40 requests were due: 40 ok; 80 more in the warm-up, not counted" in ended.out


def test_failures_of_the_warm_up_still_decide_the_exit_code(model_dir: Any, addresses: Any, tmp_path: Path) -> None:
    """Only the first answers are spoilt: Locust's tables know nothing of them, the run's own words do."""
    given = ["--model-dir", str(model_dir), "--csv", str(tmp_path / "locust")]
    words = ["-u", "2", "-t", "3s", "--warmup", "2s", "--arrivals", "constant:rate=20", "--no-preflight"]
    with spoiling_proxy(addresses, Spoiler(every=10**6)) as proxy:
        ended = locust("rest.py", tmp_path / "runs", *at(proxy, "rest"), *given, *words)
    assert ended.code == 1
    assert (
        "20 requests were due: 20 ok; 40 more in the warm-up, not counted (4 wrong_answer, 1 invalid_response there)"
        in ended.out
    )
    assert (tmp_path / "locust_failures.csv").read_text().count("\n") == 1
