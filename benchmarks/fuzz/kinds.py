"""What a kind of file is to the fuzzer, and all kinds."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks.fuzz.mutations import Mutator, mutate_json


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        name: of `--kind`.
        make: writes a folder with good files; the second folder is one that nothing may look into, with what a file
            that points outside could find there.
        targets: the files of it that are mutated, as patterns.
        read: reads the folder the way the commands do.
        mutate: how a file's bytes are changed.
        repair: makes checksums right again, so that what is behind them is reached.
        links: whether a target may become a link to a file outside, which then must not be read.
        fresh: whether reading changes the folder, so that each mutation gets a new one.
        digest: of what was read; a mutation that is accepted must have that of the good files.
        named: whether the user names the file itself, and waits if it is a pipe that nobody writes to.
        refusals: further kinds of errors by which it is refused.
    """

    name: str
    make: Callable[[Path, Path], None]
    targets: tuple[str, ...]
    read: Callable[[Path], object]
    mutate: Mutator = mutate_json
    repair: Callable[[Path, random.Random], None] | None = None
    links: bool = False
    fresh: bool = False
    digest: Callable[[object], object] | None = None
    named: bool = False
    refusals: tuple[type[Exception], ...] = ()


MODULES: Final = ("setting_files", "run_files", "checkpoint_files", "server_files")
"""Each needs its part of the program, so that a process loads one."""


def kinds_of(module: str) -> dict[str, Kind]:
    """The kinds of one module by name."""
    return {kind.name: kind for kind in import_module(f"benchmarks.fuzz.{module}").KINDS}
