"""A short form of the fuzzers of both protocols: whatever comes, the server answers it or refuses it, and lives."""

import pytest

from bench.server.lifecycle import RunningServer
from benchmarks.fuzz import grpc, rest
from benchmarks.fuzz.server_fuzz import Round, condition, run


@pytest.mark.parametrize("turn", [rest.fuzz, grpc.fuzz], ids=["rest", "grpc"])
def test_requests_that_are_broken(demo_server: RunningServer, turn: Round) -> None:
    before = condition(demo_server)
    tally = run(demo_server, turn, 500, seed=1)
    assert not tally.unexpected
    assert tally.statuses["200" if turn is rest.fuzz else "0"] > 0
    assert condition(demo_server).threads >= before.threads
