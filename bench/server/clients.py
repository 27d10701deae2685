"""Clients of a running server, by protocol."""

from bench.bert.contract.exported_model import ExportedModel
from bench.bert.contract.scoring import WITHOUT_TOP_K, ServedScorer, TopKScorer
from bench.core.errors import UsageError
from bench.server.running import RunningServer
from bench.serving.types import ServingClient


def protocols(server: RunningServer) -> list[str]:
    """The protocols whose address is known, gRPC first."""
    return [name for name, address in (("grpc", server.grpc), ("rest", server.rest)) if address]


def connect(server: RunningServer, protocol: str) -> ServingClient:
    """A client for one protocol, `rest` or `grpc`.

    Raises:
        UsageError: the server's address for this protocol is not known, or headers or certificates cannot be used.
    """
    address = server.rest if protocol == "rest" else server.grpc
    if address is None:
        raise UsageError(f"the server's {protocol} address is not known; give it with --target")
    if protocol == "rest":
        from bench.serving.rest import RestClient

        return RestClient(address, server.access)
    from bench.serving.grpc_client import GrpcClient

    return GrpcClient(address, server.access, secure=server.secure)


def served_scorer(
    server: RunningServer, model: ExportedModel, protocol: str, signature: str, timeout: float
) -> ServedScorer:
    """A scorer over one protocol and signature; `timeout` is in seconds, for one request."""
    return ServedScorer(
        lambda: connect(server, protocol), model.golden.special, signature, server.model, timeout, model.golden.fixed
    )


def top_k_scorer(
    server: RunningServer, model: ExportedModel, protocol: str, timeout: float, instead: str = WITHOUT_TOP_K
) -> TopKScorer:
    """As `served_scorer`, with what the model finds likeliest; the export must have been made with `--top-k`.

    For `instead` see `TopKScorer`.
    """
    golden = model.golden
    return TopKScorer(lambda: connect(server, protocol), golden.special, server.model, timeout, golden.top_k, instead)
