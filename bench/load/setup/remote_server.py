"""The addresses of a server elsewhere."""

from bench.core.errors import UsageError
from bench.load.setup.run_context import option_name
from bench.load.setup.run_spec import RunSpec
from bench.server.lifecycle import at_address, beside
from bench.server.running import RunningServer
from bench.serving.target import TargetKind


def remote_server(spec: RunSpec) -> RunningServer:
    """The addresses of a remote server; Serving's default ports imply the other protocol's address.

    Raises:
        UsageError: an option that has no effect on it, or no address of the protocol.
    """
    if spec.server_flags:
        raise UsageError(f"server flags have no effect on {spec.target}; set them where that server is started")
    beside_rest = spec.grpc if spec.target.kind is TargetKind.REST else None
    server = at_address(spec.target, beside_rest or beside(spec.target), spec.model_name)
    needed = {"rest": (server.rest,), "grpc": (server.grpc,), "both": (server.rest, server.grpc)}[spec.protocol]
    if None in needed:
        tls = "s" if spec.target.secure else ""
        give = {
            "rest": f"http{tls}://HOST:PORT",
            "grpc": f"grpc{tls}://HOST:PORT",
            "both": f"http{tls}://HOST:PORT and --grpc-host {'grpcs://' if tls else ''}HOST:PORT",
        }[spec.protocol]
        raise UsageError(
            f"the server's {'REST' if server.rest is None else 'gRPC'} address is not known from {spec.target}; "
            f"give {option_name('--host', spec.command)} {give}"
        )
    return server
