"""A store of baselines: a folder of run sets that can be committed or cached, one of them promoted.

    STORE/
      baselines.json             the entries, in the order in which they were added
      <id>/<run folder>/...      the runs of an entry, as they were made

Format history of `baselines.json`:
    1: first.
"""

import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from bench.analysis.run import Analysis, analyse
from bench.core.atomic_files import one_at_a_time, scratch_folder, write_atomically
from bench.core.bounded_files import own_file
from bench.core.errors import UsageError, did_you_mean
from bench.core.units import pluralize
from bench.core.versioned_json import VersionedJson
from bench.gate.stored import MIN_RUNS
from bench.results.records import Outcome
from bench.results.run_reader import Run, find_runs

INDEX: Final = "baselines.json"
LATEST: Final = "latest"
"""Names the entry that was added last."""
PROMOTED: Final = "promoted"
"""Names the baseline."""
FAILED_SHARE: Final = 0.01
"""A run with a larger share of failed requests is a failed run."""

_NAMED: Final = {LATEST: "the newest entry", PROMOTED: "the baseline"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A run set in the store.

    Args:
        id: the name of its folder.
        label: what it is, for people.
        added: when, UTC, `2026-01-31T12:00:00Z`.
        runs: names of its run folders.
        problems: why it must not become the baseline, one line each; empty if it may.
        promoted: whether it is the baseline.
    """

    id: str
    label: str
    added: str
    runs: tuple[str, ...]
    problems: tuple[str, ...] = ()
    promoted: bool = False


@dataclass(frozen=True, slots=True)
class _Index:
    """The file."""

    entries: tuple[Entry, ...]


_FILE: Final = VersionedJson(_Index, 1, name="baseline index", cure="restore it")


def read_store(store: Path) -> tuple[Entry, ...]:
    """The entries of a store, the oldest first; () for a folder that is not a store yet.

    Raises:
        UsageError: a file that cannot be read, or of a newer format.
    """
    try:
        return _FILE.read(store / INDEX).entries
    except FileNotFoundError:
        return ()


def add_runs(
    store: Path,
    paths: Iterable[Path],
    label: str,
    now: datetime,
    left_out: Callable[[str], object] = lambda line: None,
) -> Entry:
    """Copies a run set into the store, without its INVALID runs where enough VALID ones remain.

    A failed set is stored whole, with its problems.

    Args:
        store: the store; made if it is not there.
        paths: run folders or folders of runs.
        label: what it is.
        now: UTC.
        left_out: called with a line for each run that is left out.

    Raises:
        UsageError: no run at `paths`, runs of the same name, or a label that already names another entry.
        OSError: they cannot be stored; the store is as it was.
    """
    if label in _NAMED:
        raise UsageError(f"the label {label!r} already names {_NAMED[label]}; give another one")
    runs = find_runs(paths)
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise UsageError(f"two runs have the name {max(names, key=names.count)}; rename one")
    read_store(store)  # one that cannot be read is known before anything is copied
    runs, invalid, problems = _sift(runs)
    for line in invalid:
        left_out(line)
    store.mkdir(parents=True, exist_ok=True)
    # Nothing of a copy that a full disk or a signal ends is left.
    with scratch_folder(store, ".adding-") as scratch:
        for run in runs:
            # Links stay links: what they lead to is not the run's.
            shutil.copytree(run.path, scratch / "runs" / run.name, symlinks=True)
        with one_at_a_time(store):
            # Not before: another process may have added an entry while these were copied.
            entries = read_store(store)
            name, stored = _free_id(entries, label, now), tuple(run.name for run in runs)
            entry = Entry(name, label, f"{now:%Y-%m-%dT%H:%M:%SZ}", stored, tuple(problems))
            (scratch / "runs").rename(store / name)
            try:
                _write(store, (*entries, entry))
            except BaseException:
                shutil.rmtree(store / name, ignore_errors=True)
                raise
    return entry


def _free_id(entries: Iterable[Entry], label: str, now: datetime) -> str:
    """The id of a new entry: the time and its label, with a number where there is one of that name."""
    name = f"{now:%Y%m%dT%H%M%SZ}-{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-') or 'runs'}"
    taken = {entry.id for entry in entries}
    return next(entry for entry in (name, *(f"{name}-{number}" for number in range(2, 1000))) if entry not in taken)


def promote(store: Path, name: str) -> Entry:
    """Makes an entry the baseline.

    Args:
        store: the store.
        name: an entry's id, its label, or `latest`.

    Raises:
        UsageError: no such entry, one that failed, or runs that were changed since.
    """
    entry = find_entry(store, name)
    if entry.problems:
        raise UsageError(f"{entry.id} failed and cannot be promoted: {entry.problems[-1]}; promote another entry")
    find_runs([own_file(store, entry.id)])
    chosen = replace(entry, promoted=True)
    with one_at_a_time(store):
        others = (replace(other, promoted=False) for other in read_store(store))
        _write(store, tuple(chosen if other.id == entry.id else other for other in others))
    return chosen


def find_entry(store: Path, name: str) -> Entry:
    """The entry of this id, the newest of this label, the newest of all for `latest`, the baseline for `promoted`.

    Raises:
        UsageError: there is none.
    """
    entries, named = read_store(store), shlex.quote(str(store))
    if not entries:
        raise UsageError(f"{store} holds no baseline yet; add one: bertbench baseline add RUN... --store {named}")
    for entry in reversed(entries):
        # A label says nothing of whether an entry may be compared with.
        if entry.promoted if name == PROMOTED else name in (entry.id, entry.label, LATEST):
            return entry
    if name == PROMOTED:
        raise UsageError(f"no entry of {store} is promoted; promote one: bertbench baseline promote ID --store {named}")
    known = {LATEST, PROMOTED, *(word for entry in entries for word in (entry.id, entry.label) if word)}
    near = did_you_mean(name, sorted(known))
    raise UsageError(f"no entry {name!r} in {store}; see bertbench baseline list --store {named}{near}")


def promoted_runs(store: Path) -> list[Run]:
    """The runs of the baseline.

    Raises:
        UsageError: no entry is promoted, or its runs are missing or changed.
    """
    return entry_runs(store, find_entry(store, PROMOTED))


def entry_runs(store: Path, entry: Entry) -> list[Run]:
    """The runs of an entry.

    Raises:
        UsageError: they are missing or changed.
    """
    return find_runs([own_file(store, f"{entry.id}/{name}") for name in entry.runs])


def _sift(runs: list[Run]) -> tuple[list[Run], list[str], list[str]]:
    """The runs of an entry, a line for each INVALID one that is left out, and why the entry must not be the baseline.

    Only what the load generator did wrong is left out: without the runs that show the server at its worst a baseline
    would look faster than it is.
    """
    analyses = [analyse(run) for run in runs]
    problems = [problem for analysis in analyses for problem in _problems(analysis)]
    shown = [analysis.run for analysis in analyses if analysis.validity.shows_server]
    invalid = [f"{entry.run.name} is {entry.validity}" for entry in analyses if not entry.validity.shows_server]
    if problems or not invalid:
        return runs, [], [*invalid, *problems]
    if len(shown) < MIN_RUNS:
        verb = "is" if 1 in (len(shown), len(runs)) else "are"
        few = f"{len(shown)} of {pluralize(len(runs), 'run')} {verb} VALID, and a gate needs {MIN_RUNS}"
        return runs, [], [*invalid, few]
    return shown, invalid, []


def _problems(analysis: Analysis) -> Sequence[str]:
    """What the server did in a run for which a set that has it must not be a baseline."""
    run, wrong, counts = analysis.run, analysis.summary.all_wrong, analysis.summary.counts
    found = [f"{run.name}: {wrong} wrong answers"] if wrong else []
    failed = analysis.summary.due - sum(counts.get(name, 0) for name in (Outcome.WRONG_ANSWER, Outcome.OK))
    if failed > FAILED_SHARE * analysis.summary.due:
        found.append(f"{run.name}: {failed} of {analysis.summary.due} requests failed")
    if analysis.validity.overloaded:
        found.append(f"{run.name} is {analysis.validity}")
    return found


def _write(store: Path, entries: Iterable[Entry]) -> None:
    store.mkdir(parents=True, exist_ok=True)
    write_atomically(store / INDEX, _FILE.encode(_Index(tuple(entries))))
