"""Two servers brought up side by side, ready to be driven in turns."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from bench.bert.golden import Golden, read_golden
from bench.errors import UsageError
from bench.load.endpoint import Endpoint
from bench.load.pairing import Pairing
from bench.load.side import Side
from bench.results.schedules import ClosedLoop, OpenLoop
from bench.results.workload import Workload
from bench.server.lifecycle import open_target
from bench.server.running import RunningServer, free_ports
from bench.serving.rest import predict_path
from bench.serving.target import Target
from bench.serving.types import PredictRequest

OPEN_LOOP_USERS: Final = 64
"""Most requests in flight to one side in open loop."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One side of a duel.

    Args:
        label: for people.
        target: the server.
        model_dir: what it serves if it is started here, and the golden answers that it is held to.
        flags: flags for a server started here.
    """

    label: str
    target: Target
    model_dir: Path
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load that both sides are under.

    Args:
        protocol: `rest` or `grpc`.
        signature: the model's signature.
        arrivals: closed or open loop.
        model_name: the model's name on both servers.
        seed: of sentences, schedules and coins.
        timeout: seconds a request may take.
        check_share: share of the answers that are compared with the golden ones.
        sentences: sentences a request.
    """

    protocol: str
    signature: str
    arrivals: ClosedLoop | OpenLoop
    model_name: str
    seed: int
    timeout: float = 30.0
    check_share: float = 1.0
    sentences: int = 1

    def __str__(self) -> str:
        return f"{self.protocol}, {self.signature}, {self.arrivals}, seed {self.seed}"


class Duel:
    """Both sides up.

    Args:
        contenders: baseline and candidate.
        load: what they are under.
        servers: opens the contenders' servers.

    Attributes:
        sides: the contenders, connected.
        pairing: drives them.
        renew_seconds: what the last `renew` took; None before the first.
    """

    def __init__(self, contenders: tuple[Contender, Contender], load: Load, servers: "_Servers") -> None:
        self.contenders = contenders
        self._load = load
        self._servers = servers
        self.renew_seconds: float | None = None
        baseline, candidate = (
            Side(server, golden, _workload(load, golden, digest), _endpoint(contender, server, load), load.arrivals)
            for contender, server, (golden, digest) in zip(
                contenders, servers.open(), map(golden_of, contenders), strict=True
            )
        )
        self.sides = (baseline, candidate)
        self.pairing = Pairing(baseline, candidate, load.arrivals, load.seed)

    @property
    def renewable(self) -> bool:
        """Whether both sides are servers that were started here."""
        return not any(contender.target.remote for contender in self.contenders)

    def renew(self) -> None:
        """Puts fresh, warm processes in the place of both servers.

        Raises:
            TargetError: one does not come up, or did not live until now.
        """
        start = time.monotonic()
        for side in self.sides:
            side.close()
        for contender, side, server in zip(self.contenders, self.sides, self._servers.open(), strict=True):
            side.attach(server, _endpoint(contender, server, self._load))
        self.pairing.warm_up_again()
        self.renew_seconds = time.monotonic() - start

    def close(self) -> None:
        """Closes the connections."""
        for side in self.sides:
            side.close()


class _Servers:
    """The servers of both sides, started beside each other and again when asked to.

    A process that was started here gets a signal when the *thread* that started it ends (prctl(2)), so the threads
    last as long as this does.
    """

    def __init__(self, contenders: tuple[Contender, Contender], model: str) -> None:
        self._contenders = contenders
        self._model = model
        self._threads = ThreadPoolExecutor(2)
        self._stacks: list[contextlib.ExitStack] = []

    def open(self) -> list[RunningServer]:
        """Fresh servers, the last ones ended; a remote target is used as it is."""
        self._end()
        self._stacks = [contextlib.ExitStack() for _ in self._contenders]
        # All at once: two that each look for free ports at the same moment may find the same.
        ports = free_ports(2 * len(self._contenders))
        starts = [
            self._threads.submit(
                stack.enter_context,
                open_target(one.target, one.model_dir, self._model, one.flags, (ports.pop(), ports.pop())),
            )
            for stack, one in zip(self._stacks, self._contenders, strict=True)
        ]
        wait(starts)
        return [start.result() for start in starts]

    def close(self) -> None:
        """Ends the servers."""
        try:
            self._end()
        finally:
            self._threads.shutdown()

    def _end(self) -> None:
        stacks, self._stacks = self._stacks, []
        ends = [self._threads.submit(stack.close) for stack in stacks]
        wait(ends)
        for end in ends:
            end.result()


def golden_of(contender: Contender) -> tuple[Golden, str]:
    """The golden answers of a side and the digest of their file.

    Raises:
        UsageError: there are none.
    """
    golden, data = read_golden(contender.model_dir)
    return golden, "sha256:" + sha256(data).hexdigest()


@contextlib.contextmanager
def duel(baseline: Contender, candidate: Contender, load: Load) -> Iterator[Duel]:
    """Opens both targets and connects to them.

    Raises:
        UsageError: models whose golden files hold other sentences, or options that do not go together.
        TargetError: a server does not come up or does not answer.
    """
    contenders = (baseline, candidate)
    _check_same_sentences(golden_of(baseline)[0], golden_of(candidate)[0])
    with (
        contextlib.closing(_Servers(contenders, load.model_name)) as servers,
        contextlib.closing(Duel(contenders, load, servers)) as both,
    ):
        yield both


def _workload(load: Load, golden: Golden, digest: str) -> Workload:
    users = load.arrivals.users if isinstance(load.arrivals, ClosedLoop) else OPEN_LOOP_USERS
    return Workload(
        protocol=load.protocol,
        transport="fast",
        signature=load.signature,
        sentences=load.sentences,
        model_name=load.model_name,
        model_digest=golden.checkpoint_digest,
        sentences_digest=digest,
        precision=golden.precision,
        padded=golden.fixed is not None,
        check_share=load.check_share,
        timeout=load.timeout,
        drain=load.timeout,
        users=users,
        # What was really measured is known at the end.
        duration=1.0,
        seed=load.seed,
        scenario="gate",
    )


def _endpoint(contender: Contender, server: RunningServer, load: Load) -> Endpoint:
    address = server.rest if load.protocol == "rest" else server.grpc
    if address is None:
        raise UsageError(
            f"the {load.protocol} address of {contender.label} is not known; give it as a target, or another --protocol"
        )
    return Endpoint(
        rest=address if load.protocol == "rest" else None,
        grpc=address if load.protocol == "grpc" else None,
        path=predict_path(PredictRequest({}, load.signature, load.model_name)),
        grpc_secure=contender.target.secure,
    )


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
