"""The commands that are killed: how each is called, and what is wrong with what it left."""

import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.bert.contract.exported_model import ExportedModel
from bench.core.errors import BenchError, one_line
from bench.results.run_reader import open_run
from bench.server.container_engine import LABEL
from benchmarks.accounting import LOAD, SCENARIOS
from benchmarks.kills.processes import END_SECONDS, Blow, undisturbed
from benchmarks.kills.stored import (
    Worst,
    differences,
    files_of,
    lost_by_a_gate,
    missing_pictures,
    torn_files,
    wrong_runs,
)
from benchmarks.kills.world import World
from tests.support.locust_process import command as locust_command

Words = list[str]

CONTAINER: Final = "run/container"
"""The command that needs a Docker Engine."""
_MEASURED: Final = (0, 1, 3)
"""Exit codes of what a busy machine decides."""
_CAPACITY_FILES: Final = ("capacity.json", "capacity.md", "capacity.html", "model.json")
_EARLIER: Final = 0.5
"""Share of the reports and exports into a folder that has an earlier one."""


@dataclass
class Case:
    """A command that was killed.

    Args:
        world: what it worked with.
        made: the folder of its files.
        reference: that of one that nobody killed.
        before: what was in `made` at its start.
        blow: the kill.
        pid: the command's.
        code: its exit code.
        worst: gets the largest figures.
        again: exit code of the newest of the calls that nobody kills.
    """

    world: World
    made: Path
    reference: Path
    before: dict[str, bytes]
    blow: Blow
    pid: int
    code: int
    worst: Worst
    again: int | None = None
    _calls: int = field(default=0)

    def call(self, words: Words, codes: tuple[int, ...] = (0,)) -> Iterator[str]:
        """Calls a command that nobody kills; what is wrong with its end."""
        self._calls += 1
        folder = self.made.with_name(f"again-{self._calls}")
        code, _, said = undisturbed(words, f"{self.made}-{self._calls}", folder)
        self.again = code
        if code not in codes:
            yield f"{' '.join(words[2:5])} ... again: exit code {code}: {said.strip()[-300:]}"
        elif "Traceback" in said:
            yield f"{' '.join(words[2:5])} ... again: {said.strip()[-300:]}"


@dataclass(frozen=True)
class Kind:
    """A command.

    Args:
        name: for people.
        share: of the kills, in parts.
        words: the command line that writes into a folder.
        wrong: what is wrong with what a killed one left, one line each.
        prepare: puts into the folder what may be there before; it gets that of an undisturbed one too.
        codes: exit codes of an undisturbed one.
    """

    name: str
    share: int
    words: Callable[[World, Path], Words]
    wrong: Callable[[Case], Iterator[str]]
    prepare: Callable[[World, Path, Path, random.Random], None] = lambda world, made, reference, rng: None
    codes: tuple[int, ...] = (0,)


def _bench(*words: object) -> Words:
    return [sys.executable, "-m", "bench", *map(str, words)]


def _run(protocol: str, *more: str) -> Callable[[World, Path], Words]:
    def words(world: World, made: Path) -> Words:
        given = ("--target", world.targets[protocol][0], "--model-dir", world.model_dir, "--out", made / "runs")
        files = ("--junit", made / "verdicts.xml", "--markdown", made / "verdicts.md")
        load = (*LOAD, "--slo", "p50<=5s", "--duration", "3s", "--warmup", "0", "--drain", "500ms")
        return _bench("run", protocol, *given, *files, *load, *more)

    return words


def _run_embedded(world: World, made: Path) -> Words:
    load = ("--arrivals", "constant:rate=20", "--users", "4", "--duration", "3s", "--warmup", "0", "--drain", "500ms")
    return _bench("run", "rest", "--model-dir", world.demo, "--out", made / "runs", *load)


def _run_container(world: World, made: Path) -> Words:
    load = ("--arrivals", "constant:rate=50", "--users", "4", "--duration", "2s", "--warmup", "0", "--drain", "500ms")
    given = ("--target", "docker:cpu", "--model-dir", world.demo, "--no-preflight", "--out", made / "runs")
    return _bench("run", "rest", *given, *load)


def _locust(protocol: str, *more: str) -> Callable[[World, Path], Words]:
    def words(world: World, made: Path) -> Words:
        given = ("--headless", "--only-summary", "--host", world.targets[protocol][0])
        where = ("--model-dir", str(world.model_dir), "--results", str(made / "runs"))
        load = (*LOAD, "-t", "3s", "--warmup", "0", "--drain", "500ms")
        return locust_command(SCENARIOS[protocol], *given, *where, *load, *more)

    return words


def _gate(baseline: str, candidate: str, model_dir: Path, made: Path, *more: str) -> Words:
    kinds = {"--json": "json", "--markdown": "md", "--junit": "xml", "--html": "html"}
    files = [word for option, suffix in kinds.items() for word in (option, made / f"verdict.{suffix}")]
    sides = ("--baseline", baseline, "--candidate", candidate, "--model-dir", model_dir)
    return _bench("gate", *sides, *files, "--out", made / "gates", "--seed", "1", "--run-time", "300ms", *more)


def _gate_targets(world: World, made: Path) -> Words:
    more = ("--max-time", "6s", "--warmup", "200ms", "--no-preflight", "--protocol", "rest")
    return _gate(*world.targets["rest"], world.model_dir, made, *more)


def _gate_embedded(world: World, made: Path) -> Words:
    return _gate("embedded", "embedded", world.demo, made, "--max-time", "15s", "--warmup", "500ms")


def _capacity(world: World, made: Path) -> Words:
    given = ("--target", world.queue, "--protocol", "rest", "--model-dir", world.model_dir, "--no-preflight")
    words = ("capacity", "--quick", *given, "--out", made / "sweep", "--seed", "1", "--servers", "2")
    return [sys.executable, "-m", "benchmarks.short_sweep", *map(str, words)]


def _report(world: World, made: Path) -> Words:
    return _report_of(world.runs, made)


def _report_of(runs: Path, made: Path) -> Words:
    files = ("--junit", made / "verdicts.xml", "--markdown", made / "verdicts.md")
    return _bench("report", runs, "--out", made / "report", *files)


def _export(world: World, made: Path) -> Words:
    return _bench("export", "--checkpoint", "tiny", "--sentences", world.few, "--out", made / "model")


def _train(world: World, made: Path) -> Words:
    shape = ("--preset", "tiny", "--layers", "1", "--vocab-size", "300", "--batch-positions", "1024")
    times = ("--steps", "40", "--evaluations", "2", "--save-every", "1s")
    return _bench("train", world.text, "--out", made / "model", *shape, *times)


def _score(world: World, made: Path) -> Words:
    return _bench("score", world.text, "--model-dir", world.demo, "--format", "json", "--out", made / "scores.json")


def _wrong_load(case: Case) -> Iterator[str]:
    yield from torn_files(case.made)
    yield from wrong_runs(case.made, case.blow.moment, case.worst)


def _wrong_container(case: Case) -> Iterator[str]:
    yield from _wrong_load(case)
    own = {"label": f"{LABEL}={case.pid}"}
    end = time.monotonic() + END_SECONDS
    while (found := case.world.engine.containers.list(all=True, filters=own)) and time.monotonic() < end:
        time.sleep(0.1)
    for container in found:
        yield f"container {container.name} remained, {container.status}"
        container.remove(force=True, v=True)


def _wrong_gate(case: Case) -> Iterator[str]:
    yield from torn_files(case.made)
    # The clock of each run stands still meanwhile.
    yield from wrong_runs(case.made, None, case.worst)
    verdicts = [json.loads(path.read_bytes()) for path in case.made.rglob("*.json") if path.name != "run.json"]
    for verdict in verdicts:
        if verdict != verdicts[0]:
            yield "two files have different verdicts"
        if case.blow.victim and case.code != verdict["exit_code"]:
            yield f"exit code {case.code}, and the verdict is {verdict['verdict']}"


def _wrong_gate_targets(case: Case) -> Iterator[str]:
    yield from _wrong_gate(case)
    yield from lost_by_a_gate(case.made, case.blow.moment, case.worst)
    yield from case.call(_gate_targets(case.world, case.made), _MEASURED)
    yield from torn_files(case.made)


def _done(sweep: Path) -> dict[str, str]:
    """The completed steps of a sweep, and the run of each."""
    file = sweep / "sweep.json"
    return dict(json.loads(file.read_bytes())["done"]) if file.exists() else {}


def _wrong_capacity(case: Case) -> Iterator[str]:
    sweep = case.made / "sweep"
    yield from torn_files(case.made)
    yield from wrong_runs(case.made, case.blow.moment, case.worst)
    before = _done(sweep)
    yield from _unfinished_steps(sweep, before)
    words = _capacity(case.world, case.made)
    yield from case.call([*words, "--resume"] if (sweep / "sweep.json").exists() else words, _MEASURED)
    done = _done(sweep)
    if before.items() - done.items():
        yield f"steps that were done were repeated: {before.items() - done.items()}"
    if len(set(done.values())) < len(done):
        yield f"one run stands for two steps: {done}"
    yield from _unfinished_steps(sweep, done)
    stages = {step.split()[0] for step in _done(case.reference / "sweep")} - {"confirm"}
    if missing := stages - {step.split()[0] for step in done}:
        yield f"no step {', '.join(sorted(missing))}"
    if case.again == 0:
        there = {path.name for path in sweep.iterdir()}
        yield from (f"{name} is missing" for name in _CAPACITY_FILES if name not in there)
    yield from torn_files(case.made)


def _unfinished_steps(sweep: Path, done: dict[str, str]) -> Iterator[str]:
    for step, name in done.items():
        run = open_run(sweep / "runs" / name)
        if not run.finished or run.file.interrupted:
            yield f"step {step} is done, and its run was cut off"


def _prepare_report(world: World, made: Path, reference: Path, rng: random.Random) -> None:
    """The report of other runs of the same names, or nothing."""
    if rng.random() < _EARLIER:
        older = reference.with_name("older")
        if not older.exists():
            older.mkdir()
            undisturbed(_report_of(world.older_runs, older), str(older), reference.with_name("older-said"))
        shutil.copytree(older, made, dirs_exist_ok=True)


def _wrong_report(case: Case) -> Iterator[str]:
    whole = files_of(case.reference)
    found = files_of(case.made)
    for name, content in found.items():
        if not name.endswith(".tmp") and content not in (whole.get(name), case.before.get(name)):
            yield f"{name} is neither that of an earlier report nor that of an undisturbed one"
    for page in sorted(case.made.rglob("*.md")):
        yield from missing_pictures(page)
    yield from case.call(_report(case.world, case.made))
    yield from differences(files_of(case.made), whole)


def _prepare_export(world: World, made: Path, reference: Path, rng: random.Random) -> None:
    """A version, or nothing."""
    if rng.random() < _EARLIER:
        shutil.copytree(reference, made, dirs_exist_ok=True)


def _wrong_export(case: Case) -> Iterator[str]:
    model, whole = case.made / "model", files_of(case.reference / "model" / "1")
    versions = sorted(path for path in model.glob("[0-9]*"))
    for version in versions:
        yield from (f"version {version.name}: {text}" for text in differences(files_of(version), whole))
    if versions:
        try:
            ExportedModel.open(model)
        except BenchError as error:
            yield one_line(error)
    yield from case.call(_export(case.world, case.made))
    if not (model / f"{len(versions) + 1}").is_dir():
        yield f"again there is no version {len(versions) + 1}"
    for version in model.iterdir():
        if not version.name.isdigit():
            yield f"{version.name} remained"
        else:
            yield from (f"version {version.name}, again: {text}" for text in differences(files_of(version), whole))


def _wrong_train(case: Case) -> Iterator[str]:
    yield from case.call(_train(case.world, case.made))
    yield from differences(files_of(case.made), files_of(case.reference))


def _wrong_score(case: Case) -> Iterator[str]:
    whole = files_of(case.reference)
    out = case.made / "scores.json"
    journal = out.with_name("scores.json.progress")
    resumed = ("--resume",) if journal.exists() else ()
    if not resumed and out.exists() and out.read_bytes() != whole["scores.json"]:
        yield "the output has no journal, so that it reads as finished, and is not"
    if not (out.exists() and not resumed):
        yield from case.call([*_score(case.world, case.made), *resumed])
    yield from differences(files_of(case.made), whole)


KINDS: Final = (
    Kind("run/rest", 60, _run("rest"), _wrong_load, codes=_MEASURED),
    Kind("run/grpc", 50, _run("grpc"), _wrong_load, codes=_MEASURED),
    Kind("run/workers", 50, _run("rest", "--processes", "2"), _wrong_load, codes=_MEASURED),
    Kind("run/until", 20, _run("rest", "--until", "p50±0.1%", "--max-duration", "3s"), _wrong_load, codes=_MEASURED),
    Kind("run/embedded", 35, _run_embedded, _wrong_load),
    Kind(CONTAINER, 25, _run_container, _wrong_container, codes=(4,)),
    Kind("locust/rest", 45, _locust("rest"), _wrong_load),
    Kind("locust/grpc", 45, _locust("grpc", "--processes", "2"), _wrong_load),
    Kind("gate/targets", 35, _gate_targets, _wrong_gate_targets, codes=_MEASURED),
    Kind("gate/embedded", 25, _gate_embedded, _wrong_gate, codes=_MEASURED),
    Kind("capacity", 30, _capacity, _wrong_capacity, codes=_MEASURED),
    Kind("report", 35, _report, _wrong_report, _prepare_report),
    Kind("export", 25, _export, _wrong_export, _prepare_export),
    Kind("train", 20, _train, _wrong_train),
    Kind("score", 25, _score, _wrong_score),
)
