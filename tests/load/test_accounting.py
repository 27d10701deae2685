"""A few faults of `benchmarks.accounting`: every due request has exactly one outcome, whatever the server does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.load.runner.client import Runner, open_runner
from bench.load.selftest.null_server import null_server
from bench.results.records import Outcome
from bench.results.run_reader import open_run
from bench.server.running import RunningServer
from bench.workload.arrivals import parse_arrivals
from benchmarks.accounting import wrong_counts
from tests.load.test_runner import spec
from tests.support.fault_proxy import FAULTS, fault_proxy
from tests.support.toy_golden import write_model_dir


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_dir(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def good(model_dir: Path) -> Iterator[dict[str, str]]:
    with null_server(model_dir) as found:
        yield {"rest": found["rest"].removeprefix("http://"), "grpc": found["grpc"]}


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with open_runner() as found:
        yield found


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize("fault", ["refused", "request-swallowed", "answer-half"])
def test_every_due_request_has_one_outcome(
    fault: str, protocol: str, runner: Runner, good: dict[str, str], model_dir: Path, tmp_path: Path
) -> None:
    with fault_proxy(FAULTS[fault], protocol, good[protocol]) as address:
        rest, grpc = (f"http://{address}", None) if protocol == "rest" else (None, address)
        server = RunningServer(rest, grpc, "bert", "remote")
        given = {"protocol": protocol, "arrivals": parse_arrivals("constant:rate=300"), "duration": 0.4, "warmup": 0.0}
        path = runner.run(spec(model_dir, tmp_path, (server,), **given, timeout=0.2, drain=0.2, preflight=False))
    run = open_run(path)
    assert wrong_counts(run) == []
    assert run.manifest.scheduled == 120
    assert 0 < run.file.counts[Outcome.OK] < 120
