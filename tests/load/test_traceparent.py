"""Trace contexts: on the wire by every transport, in a run, and found again from its records."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.core.errors import UsageError
from bench.load.selftest.null_server import Answers
from bench.load.setup.run_spec import RunSpec
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import TransportPool
from bench.results.data_frame import request_frame
from bench.serving.access import Access
from bench.serving.headers import Headers
from bench.serving.target import parse_target
from bench.workload.arrivals import Poisson
from bench.workload.trace_context import TraceContexts
from tests.support.locust_process import locust
from tests.support.programmed_servers import grpc_server, rest_server
from tests.support.toy_golden import write_model_dir

FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")
CONTEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_ids_follow_from_the_request_and_the_run() -> None:
    traces = TraceContexts("run", 1.0)
    found = [traces.traceparent(*request) for request in ((1.5, 3, "rest"), (1.5, 3, "grpc"), (1.5, 4, "rest"))]
    assert all(FORM.fullmatch(each) for each in found)
    assert len({each.split("-")[1] for each in found}) == len({each.split("-")[2] for each in found}) == 3
    assert found[0] == TraceContexts("run", 1.0).traceparent(1.5, 3, "rest")
    assert found[0] != TraceContexts("another", 1.0).traceparent(1.5, 3, "rest")
    assert traces.trace_id(1.5, 3, "rest") == found[0].split("-")[1]


@pytest.mark.parametrize("share", [0.01, 0.25, 0.9])
def test_about_the_share_is_traced_whatever_the_due_times(share: float) -> None:
    traces = TraceContexts("run", share)
    due = np.random.default_rng(1).uniform(0, 60, 20_000)
    traced = [traces.trace_id(float(moment), 7, "grpc") is not None for moment in due]
    assert np.mean(traced) == pytest.approx(share, abs=4 * (share / due.size) ** 0.5)


@pytest.mark.parametrize("kind", ["fast", "requests"])
def test_rest_transports_send_it_for_one_request(kind: str) -> None:
    seen: list[Any] = []

    def answer(method: str, path: str, body: bytes, handler: Any) -> tuple[int, bytes]:
        seen.append((handler.headers["traceparent"], body))
        return 200, body

    with rest_server(answer) as url:
        transport = TransportPool(Endpoint(rest=url, path="/x"), {"rest": kind}).make("rest")
        for context in (None, CONTEXT, None):
            assert transport.exchange(b"abc", 5, context) == b"abc"
        transport.close()
    assert seen == [(None, b"abc"), (CONTEXT, b"abc"), (None, b"abc")]


@pytest.mark.parametrize("kind", ["fast", "grpcio"])
def test_grpc_transports_send_it_for_one_request(kind: str) -> None:
    seen: list[Any] = []

    def answer(method: str, message: bytes, context: Any) -> bytes:
        seen.append(dict(context.invocation_metadata()).get("traceparent"))
        return message

    with grpc_server(answer) as address:
        pool = TransportPool(Endpoint(grpc=address), {"grpc": kind})
        transport = pool.make("grpc")
        for context in (None, CONTEXT, None, CONTEXT):
            assert transport.exchange(b"abc", 5, context) == b"abc"
        pool.close()
    assert seen == [None, CONTEXT, None, CONTEXT]


def test_the_traces_of_a_run_are_found_from_its_records(tmp_path: Path) -> None:
    model_dir = write_model_dir(tmp_path / "model")
    answers = Answers(model_dir, "score", 1)
    state, _ = answers.state()
    seen: list[str | None] = []

    def answer(method: str, path: str, body: bytes, handler: Any) -> tuple[int, bytes]:
        if method == "POST":
            seen.append(handler.headers["traceparent"])
            return 200, answers.rest[body]
        return (200, state) if path == "/v1/models/bert" else (404, b"")

    with rest_server(answer) as host:
        words = ["--host", host, "--model-dir", str(model_dir), "--no-preflight", "-u", "4", "-t", "3s"]
        words += ["--arrivals", "poisson:rate=60", "--traceparent", "20%", "--processes", "2"]
        ended = locust("rest.py", tmp_path / "runs", *words)
    assert ended.code == 0, ended.err
    frame = request_frame(ended.run)
    sent = [FORM.fullmatch(each)[1] for each in seen if each is not None]
    assert sorted(frame["trace_id"].dropna()) == sorted(sent)
    assert len(set(sent)) == len(sent) > 10
    assert frame["trace_id"].isna().sum() == len(frame) - len(sent) > 100
    assert pd.api.types.is_string_dtype(frame["trace_id"].dropna())


def test_the_header_is_not_given_twice() -> None:
    target = parse_target("http://localhost:8501")
    access = Access(Headers([("Traceparent", CONTEXT)]))
    with pytest.raises(UsageError, match="the header traceparent is given, and --traceparent too"):
        RunSpec(
            scenario="rest",
            protocol="rest",
            arrivals=Poisson(5.0),
            users=1,
            duration=1.0,
            target=replace(target, access=access),
            trace_share=0.1,
        )
