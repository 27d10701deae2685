"""Two servers brought up side by side, ready to be driven in turns."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from bench.bert.golden import FILE_NAME, Golden, latest_version
from bench.errors import UsageError
from bench.load.pairing import Pairing
from bench.load.side import Side
from bench.load.transports import Endpoint, prepare_grpc
from bench.results.schedules import ClosedLoop, OpenLoop
from bench.results.workload import Workload
from bench.server.lifecycle import RunningServer, open_target
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


@dataclass(frozen=True)
class Duel:
    """Both sides up.

    Args:
        contenders: baseline and candidate.
        sides: the same, connected.
        pairing: drives them.
    """

    contenders: tuple[Contender, Contender]
    sides: tuple[Side, Side]
    pairing: Pairing


def golden_of(contender: Contender) -> tuple[Golden, str]:
    """The golden answers of a side and the digest of their file.

    Raises:
        UsageError: there are none.
    """
    path = latest_version(contender.model_dir) / "assets.extra" / FILE_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); export the model again") from error
    return Golden.from_json(data, str(path)), "sha256:" + sha256(data).hexdigest()


@contextlib.contextmanager
def duel(baseline: Contender, candidate: Contender, load: Load) -> Iterator[Duel]:
    """Opens both targets and connects to them.

    Raises:
        UsageError: models whose golden files hold other sentences, or options that do not go together.
        TargetError: a server does not come up or does not answer.
    """
    contenders = (baseline, candidate)
    goldens = [golden_of(contender) for contender in contenders]
    _check_same_sentences(goldens[0][0], goldens[1][0])
    if load.protocol == "grpc":
        prepare_grpc()
    with contextlib.ExitStack() as stack:
        sides = []
        for contender, (golden, digest) in zip(contenders, goldens, strict=True):
            server = stack.enter_context(
                open_target(contender.target, contender.model_dir, load.model_name, contender.flags)
            )
            side = Side(
                server, golden, _workload(load, golden, digest), _endpoint(contender, server, load), load.arrivals
            )
            stack.callback(side.close)
            sides.append(side)
        yield Duel(contenders, (sides[0], sides[1]), Pairing(sides[0], sides[1], load.arrivals, load.seed))


def _workload(load: Load, golden: Golden, digest: str) -> Workload:
    users = load.arrivals.users if isinstance(load.arrivals, ClosedLoop) else OPEN_LOOP_USERS
    return Workload(
        protocol=load.protocol,
        transport="grpc" if load.protocol == "grpc" else "fast",
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
