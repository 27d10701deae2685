"""Two servers started side by side and connected, ready to be driven in alternating slices."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf

from bench.bert.contract.golden import Golden, read_golden
from bench.core.errors import TargetError, UsageError
from bench.gate.arm import Arm
from bench.gate.interleaving import Interleaving
from bench.gate.results import ARMS
from bench.gate.server_pair import READY_SECONDS, ArmsFailed, ServerPair
from bench.gate.spec import GateSpec, Variant
from bench.gate.types import Failure
from bench.load.setup.run_endpoint import endpoint_of
from bench.load.setup.run_spec import RunSpec
from bench.load.setup.target_session import PROBE_SECONDS, require_served
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import prepare_grpc
from bench.server.running import RunningServer
from bench.serving.grpc_client import GrpcClient


class ABServers:
    """Both servers, connected, and what drives them.

    Args:
        spec: both servers and their load.
        servers: starts and ends the servers.
        until: reading of `time.monotonic` at which the gate's time is over.

    Attributes:
        variants: baseline and candidate.
        arms: the same, connected.
        interleaving: drives them.
        restart_seconds: what the last `restart` took; None before the first.
    """

    def __init__(self, spec: GateSpec, servers: ServerPair, until: float) -> None:
        self.variants = spec.variants
        self._load = load = spec.load
        self._servers = servers
        self.restart_seconds: float | None = None
        opened = servers.open()
        self._opened = time.monotonic()
        self._require_served(opened, until)
        baseline, candidate = (
            Arm(server, file.golden, load.workload(file), _endpoint(variant, server, load), load.arrivals)
            for variant, server in zip(self.variants, opened, strict=True)
            for file in (read_golden(variant.model_dir),)
        )
        self.arms = (baseline, candidate)
        self.interleaving = Interleaving(self.arms, load, self.check, until)

    @property
    def restartable(self) -> bool:
        """Whether both servers were started here."""
        return not any(variant.target.remote for variant in self.variants)

    @property
    def age(self) -> float:
        """Seconds since the servers were ready."""
        return time.monotonic() - self._opened

    def restart(self) -> None:
        """Replaces both servers by fresh processes and warms them up.

        Raises:
            ArmsFailed: one does not become ready, or had ended before.
            TimeOver: the gate's time ran out meanwhile.
        """
        start = time.monotonic()
        for arm in self.arms:
            arm.close()
        opened = self._servers.open()
        self._opened = time.monotonic()
        for variant, arm, server in zip(self.variants, self.arms, opened, strict=True):
            arm.attach(server, _endpoint(variant, server, self._load))
        self.interleaving.warm_up_restarted()
        self.restart_seconds = time.monotonic() - start

    def check(self) -> None:
        """Raises if a server that was started here has ended.

        Raises:
            ArmsFailed: with what it wrote last.
        """
        self._servers.raise_for_ended([arm.ended for arm in self.arms])

    def _require_served(self, servers: Sequence[RunningServer], until: float) -> None:
        """Asks remote gRPC targets for the model; a REST target was asked when it was opened.

        Raises:
            ArmsFailed: one does not answer, or does not serve the model.
        """
        failures = {}
        for arm, variant, server in zip(ARMS, self.variants, servers, strict=True):
            target = variant.target
            if not target.remote or self._load.protocol != "grpc" or server.grpc is None:
                continue
            prepare_grpc()
            seconds = min(PROBE_SECONDS, max(until - time.monotonic(), 0.0) + READY_SECONDS)
            try:
                with GrpcClient(server.grpc, secure=target.secure) as client:
                    require_served(client, server, target, target.secure, timeout=seconds)
            except TargetError as error:
                failures[arm] = Failure(f"the {arm} never ran: {error}", ran=False)
        if failures:
            raise ArmsFailed(failures)

    def close(self) -> None:
        """Closes the connections."""
        for arm in self.arms:
            arm.close()


@contextlib.contextmanager
def open_ab_servers(spec: GateSpec, until: float = inf) -> Iterator[ABServers]:
    """Opens both targets and connects to them.

    Args:
        spec: both servers and their load.
        until: reading of `time.monotonic` at which the gate's time is over: nothing is waited for much longer.

    Raises:
        UsageError: models whose golden files hold other sentences, or options that do not go together.
        ArmsFailed: a server does not become ready, does not answer, or ended before it was to.
        TimeOver: the time ran out before it was known whether the servers become ready.
    """
    _check_same_sentences(*(read_golden(variant.model_dir).golden for variant in spec.variants))
    with (
        contextlib.closing(ServerPair(spec.variants, spec.model_name, until)) as servers,
        contextlib.closing(ABServers(spec, servers, until)) as opened,
    ):
        yield opened


def _endpoint(variant: Variant, server: RunningServer, load: RunSpec) -> Endpoint:
    if (server.rest if load.protocol == "rest" else server.grpc) is None:
        raise UsageError(
            f"the {load.protocol} address of {variant.label} is not known; give it as a target, or another --protocol"
        )
    return endpoint_of(replace(load, target=variant.target), server)


def _check_same_sentences(first: Golden, second: Golden) -> None:
    """Refuses models that cannot get the same requests."""
    for index, (a, b) in enumerate(zip(first.sentences, second.sentences, strict=False), start=1):
        if a.sentence.token_ids != b.sentence.token_ids:
            raise UsageError(
                f"sentence {index} of the two golden files differs ({a.sentence.text!r} and {b.sentence.text!r}); "
                "export both models with the same --sentences and vocabulary"
            )
    if len(first.sentences) != len(second.sentences):
        counts = f"{len(first.sentences)} and {len(second.sentences)}"
        raise UsageError(f"the golden files hold {counts} sentences; export both models with the same --sentences")
