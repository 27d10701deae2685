"""The endpoint of a run's requests, from its spec and its server."""

from collections.abc import Sequence

from bench.load.engine.payloads import Payload, largest_response
from bench.load.setup.run_spec import RunSpec
from bench.load.transports.endpoint import MAX_RESPONSE_BYTES, Endpoint
from bench.server.running import RunningServer
from bench.serving.rest import predict_path
from bench.serving.types import PredictRequest


def endpoint_of(spec: RunSpec, server: RunningServer, payloads: Sequence[Payload] = ()) -> Endpoint:
    """The endpoint of a run's requests.

    Args:
        spec: the run.
        server: has the address of each protocol that the run uses, and how to reach it.
        payloads: the requests, which determine the default limit of a response; without them it is 8 MB.
    """
    default = largest_response(payloads) if payloads else MAX_RESPONSE_BYTES
    return Endpoint(
        rest=server.rest if spec.protocol != "grpc" else None,
        grpc=server.grpc if spec.protocol != "rest" else None,
        path=predict_path(PredictRequest({}, spec.signature, spec.model_name)),
        access=server.access,
        grpc_secure=server.secure,
        compressed=spec.compressed,
        channels=spec.channels,
        max_response=spec.max_response or default,
    )
