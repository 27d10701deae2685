"""Kills at random moments: `python -m benchmarks.kills [--count N] [--seed N] [--only run]`.

Each command is run once undisturbed, as short as it still does all that it does. Then it is started again and again and
killed (SIGKILL) at a random moment of that time, or in a quarter of the kills one of the processes that it started is.
What is looked at afterwards:

    all      what the command started ends within 15 s; no port, no container of it remains; no file is half
    runs     each folder can be read; what was cut off does not read as finished; records up to the last second
    capacity, train, score   go on and end as an undisturbed one
    export, report, gate     the same command again ends as an undisturbed one

A number decides all about a kill: `--count 1 --seed 123` repeats that of seed 123. A command that ends before its kill
is started again, and its moment is drawn from the time that this one took.
"""

import argparse
import random
import shutil
import signal
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.core.interrupts import exit_code
from benchmarks.kills.commands import CONTAINER, KINDS, Case, Kind
from benchmarks.kills.processes import Blow, start, undisturbed
from benchmarks.kills.stored import Worst, files_of
from benchmarks.kills.world import World, open_world
from benchmarks.verdicts import goal, missed, note

_MOST_SHOWN: Final = 300
_MOST_REPEATS: Final = 3
NAMES: Final = tuple(kind.name for kind in KINDS)


@dataclass(frozen=True)
class Draw:
    """What the seed of a kill decides.

    Args:
        seed: of the kill.
        kind: the command.
        share: when, as a fraction of the time that it takes undisturbed.
        rng: for the rest.
    """

    seed: int
    kind: Kind
    share: float
    rng: random.Random

    @classmethod
    def of(cls, seed: int) -> "Draw":
        rng = random.Random(f"kill {seed}")
        (kind,) = rng.choices(KINDS, [kind.share for kind in KINDS])
        return cls(seed, kind, rng.random(), rng)


@dataclass
class Tally:
    """The kills of one command."""

    kills: int = 0
    late: int = 0
    repeated: int = 0
    faulty: int = 0
    worst: Worst = field(default_factory=Worst)


@dataclass
class Kills:
    """Kills commands and looks at what they left.

    Args:
        world: what they work with.
    """

    world: World
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    _seconds: dict[str, float | None] = field(default_factory=dict)

    def kill(self, draw: Draw) -> None:
        """One kill; its faults are printed."""
        seconds = self._undisturbed(draw.kind)
        if seconds is None:
            return
        tally = self.tallies[draw.kind.name]
        blow, wrong = self._kill(draw, seconds, tally.worst)
        for _ in range(_MOST_REPEATS):
            if not blow.late or wrong:
                break
            # What it took just now is nearer to what it takes next than the first call, which found cold caches.
            self._seconds[draw.kind.name] = blow.after
            tally.repeated += 1
            blow, wrong = self._kill(draw, blow.after, tally.worst)
        tally.kills += 1
        tally.late += blow.late
        tally.faulty += bool(wrong)

    def _kill(self, draw: Draw, seconds: float, worst: Worst) -> tuple[Blow, list[str]]:
        folder = self.world.folder / f"kill-{draw.seed}"
        blow, wrong = self._kill_in(folder, draw, seconds, worst)
        for text in wrong:
            note(f"seed {draw.seed}: {draw.kind.name}, {blow}: {text[:_MOST_SHOWN]}")
        shutil.rmtree(folder)
        return blow, wrong

    def _kill_in(self, folder: Path, draw: Draw, seconds: float, worst: Worst) -> tuple[Blow, list[str]]:
        made, reference = folder / "made", self._reference(draw.kind)
        made.mkdir(parents=True)
        draw.kind.prepare(self.world, made, reference, draw.rng)
        before = files_of(made)
        started = start(draw.kind.words(self.world, made), str(folder), folder / "first")
        try:
            blow = started.kill(draw.share * seconds, draw.rng)
            code = started.wait(seconds)
            if code is None:
                return blow, ["it did not end"]
            took, wrong = started.left()
        finally:
            started.end()
        worst.ended = max(worst.ended, took)
        if (blow.victim or blow.late) and "Traceback" in started.said:
            wrong.append(f"standard error has a traceback: {started.said.strip()[-_MOST_SHOWN:]}")
        wrong += draw.kind.wrong(Case(self.world, made, reference, before, blow, started.process.pid, code, worst))
        return blow, wrong

    def _reference(self, kind: Kind) -> Path:
        return self.world.folder / kind.name.replace("/", "-") / "made"

    def _undisturbed(self, kind: Kind) -> float | None:
        """Seconds that a command takes, measured once; None if it fails without being killed."""
        if kind.name not in self._seconds:
            made = self._reference(kind)
            made.mkdir(parents=True)
            # Also beside another call of this program: the mark, by which processes are ended, is its own.
            code, seconds, said = undisturbed(kind.words(self.world, made), str(made), made.with_name("undisturbed"))
            good = code in kind.codes
            if good:
                note(f"{kind.name}, undisturbed: {seconds:.1f} s")
            else:
                goal(False, f"{kind.name}, undisturbed: exit code {code}: {said.strip()[-_MOST_SHOWN:]}")
            self._seconds[kind.name] = seconds if good else None
        return self._seconds[kind.name]


def verdict(name: str, tally: Tally) -> None:
    late = f" ({tally.late} after its end, {tally.repeated} repeated)" if tally.late or tally.repeated else ""
    figures = f"others ended within {tally.worst.ended:.2f} s, records lost of {max(tally.worst.lost, 0.0):.2f} s"
    goal(not tally.faulty, f"{name}: {tally.kills} kills{late}, {tally.faulty} with faults; at worst {figures}")


def main() -> int:
    """Prints a line a command; 1 if a check failed."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.kills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=40, metavar="N", help="seeds (default: 40)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the first of them (default: 0)")
    parser.add_argument(
        "--only", default="", metavar="TEXT[,TEXT]", help="of these, commands whose name has one of these parts"
    )
    args = parser.parse_args()
    draws = [Draw.of(seed) for seed in range(args.seed, args.seed + args.count)]
    draws = [draw for draw in draws if any(part in draw.kind.name for part in args.only.split(","))]
    if not draws:
        parser.error(f"no seed stands for a command with {args.only!r} in its name; there are " + ", ".join(NAMES))
    begun, interrupted = time.monotonic(), False
    with open_world(any(draw.kind.name == CONTAINER for draw in draws)) as world:
        kills = Kills(world)
        try:
            for draw in draws:
                if draw.kind.name != CONTAINER or world.engine is not None:
                    kills.kill(draw)
        except KeyboardInterrupt:
            interrupted = True
    for name in NAMES:
        if name in kills.tallies:
            verdict(name, kills.tallies[name])
    minutes = (time.monotonic() - begun) / 60
    done = sum(tally.kills for tally in kills.tallies.values())
    print(f"{done} kills in {minutes:.0f} minutes, {len(missed)} commands with faults", flush=True)
    return 1 if missed else exit_code(signal.SIGINT) if interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
