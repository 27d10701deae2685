"""Both servers of a gate: started side by side, connected, restarted, and ended."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from math import inf
from typing import Final

import numpy as np
import psutil

from bench.bert.contract.golden import Golden, read_golden
from bench.bert.contract.preflight import Preflight
from bench.bert.text.sentence import EncodedSentence
from bench.core.errors import InconclusiveError, TargetError, UsageError
from bench.gate.arm import Arm
from bench.gate.interleaving import Interleaving
from bench.gate.spec import GateSpec, Variant
from bench.gate.types import ARMS, Failure
from bench.load.setup.run_endpoint import endpoint_of
from bench.load.setup.run_spec import RunSpec
from bench.load.setup.target_session import require_served
from bench.load.transports.endpoint import Endpoint
from bench.load.transports.pool import prepare_grpc
from bench.server.clients import connect
from bench.server.lifecycle import open_target, startup_seconds
from bench.server.running import RunningServer, free_ports
from bench.serving.target import Target

STOP_SECONDS: Final = 3.0
"""A server that takes longer to end after SIGTERM gets SIGKILL."""
READY_SECONDS: Final = 2.0
"""Seconds past the end of the gate in which a server may still become ready."""
_MIN_WAIT: Final = 10.0
"""A server that had less time than this to become ready, because the gate's time was over, may be a good one."""


class ArmsFailed(TargetError):
    """Arms that cannot be started or have ended.

    Args:
        failures: by arm, `baseline` or `candidate`.
    """

    def __init__(self, failures: Mapping[str, Failure]) -> None:
        super().__init__("; ".join(failure.why for failure in failures.values()))
        self.failures = dict(failures)


class TimeOver(InconclusiveError):
    """The gate's time ran out before it was known whether the servers become ready."""


@dataclass(frozen=True, slots=True)
class _Start:
    """The result of starting one server.

    Args:
        server: the running server; None if it failed.
        error: why it failed; None if it did not.
        seconds: how long it took.
        at: reading of `time.monotonic` at its end.
        cut: whether it failed because the gate's time was over, before the time that its kind of server is given.
    """

    server: RunningServer | None
    error: TargetError | None
    seconds: float
    at: float
    cut: bool


class ServerPair:
    """Starts both servers side by side, restarts and ends them.

    A process that was started here gets a signal when the *thread* that started it ends (prctl(2)), so the threads
    last as long as this object.

    Args:
        variants: baseline and candidate.
        model: the model's name on both.
        until: reading of `time.monotonic` at which the gate's time is over.
    """

    def __init__(self, variants: Sequence[Variant], model: str, until: float) -> None:
        self._variants = variants
        self._model = model
        self._until = until
        self._threads = ThreadPoolExecutor(2)
        self._stacks: list[contextlib.ExitStack] = []
        self._servers: Sequence[RunningServer | None] = ()
        self._ran = False

    def open(self) -> list[RunningServer]:
        """Ends the servers that run and starts fresh ones; a remote target is used as it is.

        Raises:
            ArmsFailed: one does not become ready, or one of those that ran had ended.
            TimeOver: the gate's time is over, and too little was left to know.
            UsageError: options that do not go with a target.
        """
        self.end()
        self._stacks = [contextlib.ExitStack() for _ in self._variants]
        # In one call: two that each look for free ports at the same moment may find the same ones.
        ports = free_ports(2 * len(self._variants))
        begun = [
            self._threads.submit(self._start, stack, one, (ports.pop(), ports.pop()))
            for stack, one in zip(self._stacks, self._variants, strict=True)
        ]
        wait(begun)
        starts = [start.result() for start in begun]
        self._servers = [start.server for start in starts]
        self._raise_for(starts)
        self._ran = True
        return [server for server in self._servers if server is not None]

    def raise_for_ended(self, ended: Sequence[bool]) -> None:
        """Raises for the servers, baseline and candidate, that have ended.

        Raises:
            ArmsFailed: with what each wrote last.
        """
        self._close([index for index, gone in enumerate(ended) if gone])

    def end(self) -> None:
        """Ends the servers.

        Raises:
            ArmsFailed: one had ended before.
        """
        try:
            self._close(range(len(self._stacks)))
        finally:
            self._stacks, self._servers = [], ()

    def close(self) -> None:
        """Ends the servers and the threads that started them; raises as `end` does."""
        try:
            self.end()
        finally:
            self._threads.shutdown()

    def _start(self, stack: contextlib.ExitStack, one: Variant, ports: tuple[int, int]) -> _Start:
        begun = time.monotonic()
        usual, left = startup_seconds(one.target), max(self._until - begun, 0.0) + READY_SECONDS
        opened = open_target(one.target, one.model_dir, self._model, one.flags, ports, min(usual, left))
        try:
            server, failure = stack.enter_context(opened), None
        except TargetError as error:
            server, failure = None, error
        at = time.monotonic()
        cut = not one.target.remote and left < usual and at - begun >= left
        return _Start(server, failure, at - begun, at, cut)

    def _raise_for(self, starts: Sequence[_Start]) -> None:
        failures = {
            arm: Failure(f"the {arm} {'did not restart' if self._ran else 'never ran'}: {start.error}", self._ran)
            for arm, start in zip(ARMS, starts, strict=True)
            if start.error and not self._may_be_good(start, starts)
        }
        if failures:
            raise ArmsFailed(failures)
        if any(start.error for start in starts):
            raise TimeOver("--max-time was over before both servers were ready; give more --max-time")

    def _may_be_good(self, start: _Start, starts: Sequence[_Start]) -> bool:
        """Whether a server that is not ready may just be slow: time was short, and the other was not ready either."""
        in_time = any(other.server is not None and other.at <= self._until for other in starts)
        return start.cut and start.seconds < _MIN_WAIT and not in_time

    def _close(self, indexes: Sequence[int]) -> None:
        ends = {index: self._threads.submit(self._stacks[index].close) for index in indexes}
        _, late = wait(ends.values(), STOP_SECONDS)
        for index, end in ends.items():
            if end in late:
                self._kill(index)
        wait(ends.values())
        failures = {}
        for index, end in ends.items():
            if isinstance(error := end.exception(), TargetError):
                failures[ARMS[index]] = Failure(f"the {ARMS[index]} ended: {error}", ran=True)
            elif error is not None:
                raise error
        if failures:
            raise ArmsFailed(failures)

    def _kill(self, index: int) -> None:
        server = self._servers[index] if self._servers else None
        if server is not None and server.pid is not None:
            with contextlib.suppress(psutil.Error):
                psutil.Process(server.pid).kill()


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
            Arm(
                server,
                file.golden,
                replace(load, target=variant.target).workload(file),
                _endpoint(variant, server, load),
                load.arrivals,
            )
            for variant, server in zip(self.variants, opened, strict=True)
            for file in (read_golden(variant.model_dir),)
        )
        self.arms = (baseline, candidate)
        if load.preflight:
            self._require_same_models(until)
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
            try:
                with connect(server, "grpc") as client:
                    require_served(client, server, target, _probe_seconds(target, until))
            except TargetError as error:
                failures[arm] = Failure(f"the {arm} never ran: {error}", ran=False)
        if failures:
            raise ArmsFailed(failures)

    def _require_same_models(self, until: float) -> None:
        """Asks remote servers for a few golden answers.

        Raises:
            WrongAnswerError: one holds another model.
        """
        for variant, arm in zip(self.variants, self.arms, strict=True):
            if not variant.target.remote:
                continue
            prepare_grpc()
            golden, load = read_golden(variant.model_dir).golden, self._load
            preflight = Preflight(golden, load.signature, load.model_name, str(variant.model_dir))
            with connect(arm.server, load.protocol) as client:
                preflight.require_same_model(client, variant.label, _probe_seconds(variant.target, until))

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


def _probe_seconds(target: Target, until: float) -> float:
    """What a question to a server may take before the gate begins."""
    return min(startup_seconds(target), max(until - time.monotonic(), 0.0) + READY_SECONDS)


def _endpoint(variant: Variant, server: RunningServer, load: RunSpec) -> Endpoint:
    if (server.rest if load.protocol == "rest" else server.grpc) is None:
        raise UsageError(
            f"the {load.protocol} address of {variant.label} is not known; give it as a target, or another --protocol"
        )
    return endpoint_of(load, server)


def _check_same_sentences(first: Golden, second: Golden) -> None:
    """Refuses models that cannot get the same requests."""
    for index, (a, b) in enumerate(zip(first.sentences, second.sentences, strict=False), start=1):
        if a.sentence.text != b.sentence.text:
            raise UsageError(
                f"sentence {index} of the two golden files differs ({a.sentence.text!r} and {b.sentence.text!r}); "
                "export both models with the same --sentences"
            )
        if difference := _tokens_difference(a.sentence, b.sentence):
            raise UsageError(
                f"the tokenizers of the two models differ: in sentence {index} ({a.sentence.text!r}) {difference}, so "
                "that the sides would get different requests; export both checkpoints with the same vocabulary and the "
                "same of --cased and --uncased"
            )
    if len(first.sentences) != len(second.sentences):
        counts = f"{len(first.sentences)} and {len(second.sentences)}"
        raise UsageError(f"the golden files hold {counts} sentences; export both models with the same --sentences")


def _tokens_difference(first: EncodedSentence, second: EncodedSentence) -> str:
    """`'The' is 'the' with the other`: where the tokens of two requests differ first; "" if they are the same."""
    tokens = (
        zip(one.pieces, one.token_ids, np.diff(one.word_ids, prepend=-1).tolist(), strict=True)
        for one in (first, second)
    )
    for (piece, token, begins), (other, other_token, other_begins) in zip(*tokens, strict=False):
        if piece != other:
            return f"{piece!r} is {other!r} with the other"
        if token != other_token:
            return f"the id of {piece!r} is {token}, and {other_token} with the other"
        if begins != other_begins:
            return f"{piece!r} begins a word with one only"
    counts = first.num_pieces, second.num_pieces
    return "" if counts[0] == counts[1] else f"there are {counts[0]} WordPieces, and {counts[1]} with the other"
