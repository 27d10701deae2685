"""The addresses of a server elsewhere."""

import sys
import time
from typing import Final

from bench.core import interrupts
from bench.core.errors import TargetError, UsageError
from bench.load.setup.run_context import option_name
from bench.load.setup.run_spec import RunSpec
from bench.server.lifecycle import accepts, at_address, beside, serves
from bench.server.running import RunningServer
from bench.serving.endpoint_probe import explain
from bench.serving.target import Target, TargetKind

_POLL_SECONDS: Final = 0.1
# A server that has just opened one port opens the other within this.
_OPENING_SECONDS: Final = 1.0


def remote_server(spec: RunSpec) -> RunningServer:
    """The addresses of a remote server; Serving's default ports imply the other protocol's, if Serving answers there.

    Raises:
        UsageError: an option that has no effect on it, or no address of the protocol.
        TargetError: nothing answers at the user's address, beside which another is needed.
    """
    if spec.server_flags:
        raise UsageError(f"server flags have no effect on {spec.target}; set them where that server is started")
    beside_rest = spec.grpc if spec.target.kind is TargetKind.REST else None
    server = at_address(spec.target, beside_rest or _guessed(spec), spec.model_name)
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


def _guessed(spec: RunSpec) -> Target | None:
    """The address beside the user's, if the run has a use for it, and Serving answers there for the model.

    A server that is waited for is looked at once it takes connections.

    Raises:
        TargetError: the run needs that address, and nothing answers at the user's.
    """
    other = beside(spec.target)
    if other is None or (other.kind is TargetKind.GRPC and spec.protocol == "rest"):
        return None
    if other.kind is TargetKind.GRPC and _has_gevent_sockets():
        # Here and not above: the Python API loads no gevent.
        from bench.load.transports.pool import prepare_grpc

        prepare_grpc()
    limit = time.monotonic() + (spec.target.access.ready_timeout or 0.0)
    waited = False
    while not accepts(spec.target) and time.monotonic() < limit:
        interrupts.check()
        waited = True
        time.sleep(_POLL_SECONDS)
    own = "rest" if spec.target.kind is TargetKind.REST else "grpc"
    if spec.protocol != own and not accepts(spec.target):
        cause = explain(spec.target.address.rpartition("//")[2], own, model=spec.model_name)
        raise TargetError(f"{spec.target} does not answer: {cause or 'it takes no connection; try again'}")
    opened = time.monotonic() + (_OPENING_SECONDS if waited else 0.0)
    while not serves(other, spec.model_name):
        if time.monotonic() >= opened:
            return None
        time.sleep(_POLL_SECONDS)
    return other


def _has_gevent_sockets() -> bool:
    """Whether this process's sockets are gevent's, as those of Locust and the runner are, and a user's are not."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("socket")
