"""What the process of a run and its watcher say to each other: one line of JSON each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench.objectives.grammar import Objective
from bench.objectives.stopping import Look
from bench.objectives.until import Until


@dataclass(frozen=True, slots=True)
class Task:
    """The first line to the watcher, whose answer is a `Prediction`.

    Args:
        results: folder of runs, in which an earlier one may be found.
        scenario: of the run.
        arrivals: its arrivals, canonical text.
        target: its target, as in its manifest.
        until: when it may stop.
        objectives: what it is held to.
        longest: the longest measured time, seconds.
    """

    results: Path
    scenario: str
    arrivals: str
    target: str
    until: Until
    objectives: tuple[Objective, ...]
    longest: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """How long the run will probably take, for people, one line."""

    text: str


@dataclass(frozen=True, slots=True)
class LookRequest:
    """Each further line to the watcher, whose answer is a `Reply`.

    Args:
        folder: of the run.
        now: seconds since the run began.
        confidence: of the intervals.
    """

    folder: Path
    now: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a look found; `error` is one line if it failed, else ""."""

    look: Look
    error: str = ""


ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


def decoder_of(kind: type) -> "msgspec.json.Decoder[object]":
    """Decodes a line into `kind`."""
    return msgspec.json.Decoder(kind, dec_hook=lambda of, value: of(value))
