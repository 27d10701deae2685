"""Files from outside, broken: `python -m benchmarks.fuzz.files --count 10000`, or with `--kind` and `--seed`.

Each mutation is a seed: `KIND:SEED` alone makes it again. A file must be refused in one printable line of the program's
own kind of error, or be read; it must not take unbounded time or memory, nor lead to a file outside its folder.

Each kind runs in a process of its own, since a native library may end it.
"""

import argparse
import faulthandler
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.fuzz.guard import SECONDS, Fault, Guard, quiet_standard_error
from benchmarks.fuzz.kinds import MODULES, Kind, kinds_of

_SHOWN: Final = 12


@dataclass
class Tally:
    """What became of the mutations of a kind."""

    mutations: int = 0
    refused: int = 0
    accepted: int = 0
    faults: dict[str, list[int]] = field(default_factory=dict)

    def line(self, name: str) -> str:
        counts = f"{self.mutations:>6} mutations, {self.refused:>6} refused, {self.accepted:>6} accepted"
        return f"{name:20} {counts}, {sum(map(len, self.faults.values())):>5} faults"


class Fuzzer:
    """Mutations of one kind of file, in a folder of its own.

    Args:
        kind: of file.
        base: an empty folder.

    Raises:
        Fault: the good files are refused.
    """

    def __init__(self, kind: Kind, base: Path) -> None:
        self._kind = kind
        self._home, self._secret = base / "home", base / "secret"
        self._good = base / "good"
        self._good.mkdir()
        self._secret.mkdir()
        kind.make(self._good, self._secret)
        shutil.copytree(self._good, self._home)
        self._targets = sorted(path.relative_to(self._good) for name in kind.targets for path in self._good.glob(name))
        self._guard = Guard(self._secret, kind.refusals)
        refused, found = self._guard.refuses(lambda: kind.read(self._home))
        if refused:
            raise Fault(f"the good files of {kind.name} are refused: {found}")
        self._digest = kind.digest(found) if kind.digest else None

    def close(self) -> None:
        self._guard.close()

    def try_seed(self, seed: int) -> bool:
        """Whether the mutation of this seed is refused.

        Raises:
            Fault: it is neither refused nor read as it must be.
        """
        rng = random.Random(f"{self._kind.name}:{seed}")
        name = rng.choice(self._targets)
        target = self._home / name
        try:
            self._spoil(rng, name)
            if self._kind.repair and rng.random() < 0.8:
                self._kind.repair(self._home, rng)
            refused, found = self._guard.refuses(lambda: self._kind.read(self._home))
            if not refused and self._kind.digest and self._kind.digest(found) != self._digest:
                raise Fault("was accepted with another content")
            return refused
        finally:
            self._restore(target, name)

    def refuses(self, data: bytes) -> bool:
        """Whether `data` is refused in place of the first of the kind's files.

        Raises:
            Fault: it is neither refused nor read as it must be.
        """
        name = self._targets[0]
        try:
            self._put(name, data)
            return self._guard.refuses(lambda: self._kind.read(self._home))[0]
        finally:
            self._restore(self._home / name, name)

    def _put(self, name: Path, data: bytes) -> None:
        (self._home / name).write_bytes(data.replace(b"/SECRET", os.fsencode(self._secret)))

    def _spoil(self, rng: random.Random, name: Path) -> None:
        if rng.random() < 0.02:
            self._replace(rng, self._home / name)
            return
        self._put(name, self._kind.mutate(rng, (self._good / name).read_bytes()))

    def _replace(self, rng: random.Random, target: Path) -> None:
        """Something else in a file's place: nothing, a folder, a pipe, a link."""
        target.unlink()
        kind = rng.randrange(5)
        if kind == 0:
            target.mkdir()
        elif kind == 1:
            target.symlink_to(target.name)
        elif kind == 2 and not self._kind.named:
            os.mkfifo(target)
        elif kind == 3 and self._kind.links:
            target.symlink_to(self._secret / "secret")
        elif kind == 3:
            target.symlink_to("not-there")

    def _restore(self, target: Path, name: Path) -> None:
        if self._kind.fresh or self._kind.repair:
            shutil.rmtree(self._home)
            shutil.copytree(self._good, self._home)
            return
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        elif target.is_symlink() or not target.is_file():
            target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._good / name, target)


def fuzz(kind: Kind, seeds: Sequence[int]) -> Iterator[tuple[int, str, str]]:
    """(seed, `refused`, `accepted` or `fault`, the fault) of each mutation."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        fuzzer = Fuzzer(kind, Path(folder))
        try:
            for seed in seeds:
                try:
                    yield seed, "refused" if fuzzer.try_seed(seed) else "accepted", ""
                except Fault as fault:
                    yield seed, "fault", str(fault).replace(folder, "")
        finally:
            fuzzer.close()


def run_here(module: str, name: str, seeds: Sequence[int]) -> None:
    """Prints a line for each seed: what became of it. For the process of one kind."""
    kind = kinds_of(module)[name]
    quiet_standard_error()
    for seed, what, fault in fuzz(kind, seeds):
        print(seed, what, fault, flush=True)
        # Where a native library never comes back, no signal helps.
        faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    faulthandler.cancel_dump_traceback_later()


def run_apart(module: str, name: str, seeds: range) -> Tally:
    """The mutations of a kind, in processes that may die of them."""
    tally, rest = Tally(), seeds
    while rest:
        command = [sys.executable, "-m", "benchmarks.fuzz.files", "--here", module, "--kind", name]
        command += ["--seed", str(rest.start), "--count", str(len(rest))]
        last = rest.start - 1
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                number, what, fault = (*line.rstrip("\n").split(" ", 2), "")[:3]
                last = int(number)
                _count(tally, last, what, fault)
        if child.returncode == 0:
            break
        if last < rest.start and child.returncode == 1:
            raise SystemExit(f"the fuzzer of {name} does not start")
        _count(tally, last + 1, "fault", f"the process ended with {child.returncode}")
        rest = range(last + 2, seeds.stop)
    return tally


def _count(tally: Tally, seed: int, what: str, fault: str) -> None:
    tally.mutations += 1
    if what == "fault":
        tally.faults.setdefault(fault, []).append(seed)
    elif what == "refused":
        tally.refused += 1
    else:
        tally.accepted += 1


def main(words: Sequence[str] | None = None) -> int:
    """Prints one line a kind and each fault with its seeds; returns 1 if there was any."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz.files", description="Fuzzes files from outside.")
    parser.add_argument("--count", type=int, default=10_000, help="mutations of each kind (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="the first one's (default: 0)")
    parser.add_argument("--kind", action="append", metavar="KIND", help="only these; repeatable")
    parser.add_argument("--here", metavar="MODULE", help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    seeds = range(args.seed, args.seed + args.count)
    if args.here:
        run_here(args.here, args.kind[0], seeds)
        return 0
    modules = {name: module for module in MODULES for name in kinds_of(module)}
    if unknown := set(args.kind or ()) - modules.keys():
        parser.error(f"no kind {min(unknown)}; known are {', '.join(modules)}")
    faults: Counter[str] = Counter()
    for name in args.kind or modules:
        tally = run_apart(modules[name], name, seeds)
        print(tally.line(name), flush=True)
        for fault, found in sorted(tally.faults.items(), key=lambda entry: -len(entry[1]))[:_SHOWN]:
            print(f"    {len(found):>5} × {fault}: --kind {name} --count 1 --seed {found[0]}", flush=True)
        faults[name] += sum(map(len, tally.faults.values()))
    return int(faults.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
