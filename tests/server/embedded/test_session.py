"""Tensors that a signature names and the graph does not have, in the words of TensorFlow's subgraph.cc."""

from collections.abc import Iterator

import numpy as np
import pytest

from bench.server.embedded.base.status import StatusError
from bench.server.embedded.models.servable import run_timeout
from bench.server.embedded.runtime.session import GraphSession
from bench.server.embedded.runtime.tensors import Tensor
from bench.serving.protos import meta_graph_pb2, types_pb2

ONE = Tensor(types_pb2.DT_FLOAT, (), np.array([1], np.float32))


@pytest.fixture(scope="module")
def session() -> Iterator[GraphSession]:
    graph = meta_graph_pb2.MetaGraphDef().graph_def
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = types_pb2.DT_FLOAT
    graph.node.add(name="y", op="Identity", input=["x"]).attr["T"].type = types_pb2.DT_FLOAT
    graph.node.add(name="nothing", op="NoOp")
    session = GraphSession(graph.SerializeToString())
    yield session
    session.close()


def test_a_run(session: GraphSession) -> None:
    for feed, fetch in (("x:0", "y:0"), ("x", "y")):
        (tensor,) = session.run([(feed, ONE)], [fetch])
        assert tensor.values.tolist() == [1.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("feed", "fetch", "error"),
    [
        ("z:0", "y:0", "NOT_FOUND: FeedInputs: unable to find feed output z:0"),
        ("x:1", "y:0", "INVALID_ARGUMENT: FeedInputs: x:1 should have output index < 1"),
        ("nothing", "y:0", "INVALID_ARGUMENT: FeedInputs: nothing should have output index < 0"),
        ("x:0", "z:0", "NOT_FOUND: FetchOutputs node z:0: not found"),
        ("x:0", "y:7", "INVALID_ARGUMENT: FetchOutputs y:7: output index too large, must be < 1"),
        (
            "x:0",
            "nothing",
            "INVALID_ARGUMENT: Tried to fetch data for 'nothing', which produces no output.  To run to a node but "
            "not fetch any data, pass 'nothing' as an argument to the 'target_node_names' argument of the "
            "Session::Run API.",
        ),
        ("x:0", "y:abc", "NOT_FOUND: FetchOutputs node y:abc: not found"),
        ("x:0", "y:-1", "NOT_FOUND: FetchOutputs node y:-1: not found"),
        ("x:0", "y:²", "NOT_FOUND: FetchOutputs node y:²: not found"),
        ("x:0", "y:" + "9" * 5000, f"NOT_FOUND: FetchOutputs node y:{'9' * 5000}: not found"),
        ("x:0", "y:999999999", "INVALID_ARGUMENT: FetchOutputs y:999999999: output index too large, must be < 1"),
        ("x:0", "y\0:0", "NOT_FOUND: FetchOutputs node y\0:0: not found"),
        ("x\0", "y", "NOT_FOUND: FeedInputs: unable to find feed output x\0"),
        ("z:0", "z:0", "NOT_FOUND: FeedInputs: unable to find feed output z:0"),
        ("y:0", "y:0", "INVALID_ARGUMENT: y:0 is both fed and fetched."),
    ],
)
def test_tensors_that_the_graph_does_not_have(session: GraphSession, feed: str, fetch: str, error: str) -> None:
    with pytest.raises(StatusError) as caught:
        session.run([(feed, ONE)], [fetch])
    assert str(caught.value) == error


def test_the_longest_deadline_of_grpc(session: GraphSession) -> None:
    """The runtime ends the process at the milliseconds of `grpc-timeout: 99999999H`."""
    timeout = run_timeout(99_999_999 * 3600.0)
    assert timeout == 2**31 - 1
    (tensor,) = session.run([("x:0", ONE)], ["y:0"], timeout)
    assert tensor.values.tolist() == [1.0]  # type: ignore[union-attr]
    assert run_timeout(0.0001) == 1


def test_bytes_that_are_not_a_graph() -> None:
    with pytest.raises(StatusError, match="INVALID_ARGUMENT"):
        GraphSession(b"\xff")
