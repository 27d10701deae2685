"""Two servers brought up side by side, ready to be driven in turns."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Final

from bench.bert.contract.golden import Golden, read_golden
from bench.core.errors import TargetError, UsageError
from bench.gate.arm import Arm
from bench.gate.interleaving import Interleaving
from bench.gate.results import ARMS
from bench.gate.server_pair import READY_SECONDS, ArmsFailed, Servers, TimeOver, Variant
from bench.gate.types import Failure
from bench.load.setup.run_endpoint import endpoint_of
from bench.load.setup.run_spec import RunSpec
from bench.load.setup.target_session import PROBE_SECONDS, require_served
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import prepare_grpc
from bench.server.running import RunningServer
from bench.serving.grpc_client import GrpcClient
from bench.workload.schedules import Arrivals, ClosedLoop

__all__ = ["ABServers", "ArmsFailed", "TimeOver", "Variant", "gate_spec", "load_text", "open_ab_servers"]

OPEN_LOOP_USERS: Final = 64
"""Most requests in flight to one side in open loop."""


def gate_spec(
    *, protocol: str, signature: str, arrivals: Arrivals, model_name: str, seed: int, timeout: float = 30.0
) -> RunSpec:
    """The load that both sides are under.

    Args:
        protocol: `rest` or `grpc`.
        signature: the model's signature.
        arrivals: closed or open loop.
        model_name: the model's name on both servers.
        seed: of sentences, schedules and coins.
        timeout: seconds a request may take.

    Raises:
        UsageError: a value that is out of range.
    """
    return RunSpec(
        scenario="gate",
        protocol=protocol,
        signature=signature,
        arrivals=arrivals,
        users=arrivals.users if isinstance(arrivals, ClosedLoop) else OPEN_LOOP_USERS,
        # What was really measured is known at the end.
        duration=1.0,
        drain=timeout,
        timeout=timeout,
        model_name=model_name,
        seed=seed,
    )


def load_text(spec: RunSpec) -> str:
    """The load in words."""
    return f"{spec.protocol}, {spec.signature}, {spec.arrivals}, seed {spec.seed}"


class ABServers:
    """Both sides up.

    Args:
        variants: baseline and candidate.
        load: what they are under.
        servers: opens the contenders' servers.
        until: reading of `time.monotonic` at which the gate's time is over.

    Attributes:
        arms: the contenders, connected.
        interleaving: drives them.
        restart_seconds: what the last `restart` took; None before the first.
    """

    def __init__(self, variants: tuple[Variant, Variant], load: RunSpec, servers: Servers, until: float) -> None:
        self.variants = variants
        self._load = load
        self._servers = servers
        self.restart_seconds: float | None = None
        opened = servers.open()
        self._opened = time.monotonic()
        self._require_served(opened, until)
        baseline, candidate = (
            Arm(server, file.golden, load.workload(file), _endpoint(variant, server, load), load.arrivals)
            for variant, server in zip(variants, opened, strict=True)
            for file in (read_golden(variant.model_dir),)
        )
        self.arms = (baseline, candidate)
        self.interleaving = Interleaving(baseline, candidate, load.arrivals, load.seed, until)

    @property
    def restartable(self) -> bool:
        """Whether both sides are servers that were started here."""
        return not any(variant.target.remote for variant in self.variants)

    @property
    def age(self) -> float:
        """Seconds since the servers were ready."""
        return time.monotonic() - self._opened

    def restart(self) -> None:
        """Puts fresh, warm processes in the place of both servers.

        Raises:
            ArmsFailed: one does not come up, or did not live until now.
            TimeOver: the gate's time was over meanwhile.
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
            ArmsFailed: one does not answer, or does not serve it.
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
def open_ab_servers(baseline: Variant, candidate: Variant, load: RunSpec, until: float = inf) -> Iterator[ABServers]:
    """Opens both targets and connects to them.

    Args:
        baseline: one side.
        candidate: the other.
        load: what both are under.
        until: reading of `time.monotonic` at which the gate's time is over: nothing is waited for much longer.

    Raises:
        UsageError: models whose golden files hold other sentences, or options that do not go together.
        ArmsFailed: a server does not come up, does not answer, or did not live to the end.
        TimeOver: it could not be known in time whether the servers come up.
    """
    variants = (baseline, candidate)
    _check_same_sentences(*(read_golden(variant.model_dir).golden for variant in variants))
    with (
        contextlib.closing(Servers(variants, load.model_name, until)) as servers,
        contextlib.closing(ABServers(variants, load, servers, until)) as opened,
    ):
        yield opened


def _endpoint(variant: Variant, server: RunningServer, load: RunSpec) -> Endpoint:
    if (server.rest if load.protocol == "rest" else server.grpc) is None:
        raise UsageError(
            f"the {load.protocol} address of {variant.label} is not known; give it as a target, or another --protocol"
        )
    return endpoint_of(replace(load, target=variant.target), server)


def _check_same_sentences(first: Golden, second: Golden) -> None:
    """Both sides are to be asked the same."""
    for index, (a, b) in enumerate(zip(first.sentences, second.sentences, strict=False), start=1):
        if a.sentence.token_ids != b.sentence.token_ids:
            raise UsageError(
                f"sentence {index} of the two golden files differs ({a.sentence.text!r} and {b.sentence.text!r}); "
                "export both models with the same --sentences and vocabulary"
            )
    if len(first.sentences) != len(second.sentences):
        counts = f"{len(first.sentences)} and {len(second.sentences)}"
        raise UsageError(f"the golden files hold {counts} sentences; export both models with the same --sentences")
