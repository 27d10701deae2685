"""Files of runs, sweeps, stores of baselines and gates."""

import json
import random
import shutil
import struct
import tempfile
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.analysis.latency_curves import latency_curves
from bench.analysis.measured import load
from bench.analysis.run import analyse
from bench.analysis.run_profile import run_profile
from bench.capacity.experiment.experiment_design import FULL
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.measurements.measured_step import Stage
from bench.capacity.model.capacity_model import CapacityModel
from bench.capacity.model.model_file import StoredModel, read_model, write_model
from bench.capacity.plan.compare_sweeps import compare_sweeps
from bench.capacity.plan.plan import PlanOptions
from bench.capacity.plan.planned import PlanRequest
from bench.capacity.plan.slo import Slo
from bench.capacity.queue.latency_table import COLUMNS, ParameterSet
from bench.capacity.queue.queue_model import QueueModel
from bench.capacity.report.markdown_report import sweeps_markdown
from bench.capacity.sweeps import fit_options, read_steps
from bench.core.journal import ResumableFile
from bench.gate.baseline_store import promoted_runs, read_store
from bench.gate.report.files import read_verdict
from bench.report.pages import render
from bench.report.runs.run_charts import run_charts
from bench.report.runs.run_report import summary_csv
from bench.report.runs.view import run_view
from bench.results.records import Outcome
from bench.results.run_folder import file_digest
from bench.results.run_reader import find_runs
from benchmarks.fuzz.kinds import Kind
from benchmarks.fuzz.mutations import mutate_bytes, mutate_text
from tests.support.measurements import measurement
from tests.support.synthetic_runs import WORKLOAD, simulate, write_run

_SENTENCES: Final = ("the cat sat", "a | b <c>", "un able")


def _write_run(root: Path, finish: bool) -> Path:
    workload = replace(WORKLOAD, duration=3.0, warmup=0.5)
    requests = simulate("poisson:rate=20", workload)
    requests.outcome[3], requests.outcome[20] = Outcome.WRONG_ANSWER, Outcome.TIMEOUT
    run = write_run(root, requests, "poisson:rate=20", workload, sentences=_SENTENCES, finish=finish)
    return run.path


@cache
def _template(finish: bool) -> Path:
    """A run that copies are made of."""
    return _write_run(Path(tempfile.mkdtemp(prefix="fuzz-run-")), finish)


def _run(finish: bool, folder: Path) -> None:
    shutil.copytree(_template(finish), folder, dirs_exist_ok=True)


def _report(folder: Path) -> object:
    """All that a report says, without drawing the plots."""
    (run,) = find_runs([folder])
    measured = load(run)
    analysis, curves = analyse(run, measured=measured), latency_curves(run, measured)
    profile = run_profile(run, measured, curves.interval)
    view = run_view(analysis, profile, [])
    run_charts(analysis, curves, profile)
    return summary_csv([analysis]) + render("bench.report.runs", "run.md.j2", view=view)


def _checksums(folder: Path, _rng: random.Random) -> None:
    """Makes the checksums those of the files."""
    path = folder / "run.json"
    raw: dict[str, Any] = json.loads(path.read_bytes())
    raw["checksums"] = {name: file_digest(folder / name) for name in raw["checksums"] if _is_plain(folder / name)}
    path.write_text(json.dumps(raw))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


_HEAD: Final = struct.Struct("<4sHIII")


def _mutate_blocks(rng: random.Random, data: bytes) -> bytes:
    """As bytes, or one block's content with its checksum right again."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data)
    _, _, header, rows, _ = _HEAD.unpack_from(data)
    content = bytearray(data[_HEAD.size : _HEAD.size + header + rows])
    rest = data[_HEAD.size + header + rows :]
    for _ in range(rng.choice((1, 2, 20))):
        content[rng.randrange(len(content))] = rng.choice((0, 255, rng.randrange(256)))
    if rng.random() < 0.3:
        content = bytearray(mutate_text(rng, bytes(content[:header]))) + content[header:]
        header = len(content) - rows
    packed = _HEAD.pack(b"BBRB", 1, max(header, 0), rows, zlib.crc32(content))
    return packed + bytes(content) + rest


def _store(folder: Path, _secret: Path) -> None:
    runs = folder / "20260131T120000Z-main"
    shutil.copytree(_template(True), runs / "run")
    entry = {"id": runs.name, "label": "main", "added": "2026-01-31T12:00:00Z", "runs": ["run"], "problems": []}
    _as_json(folder / "baselines.json", {"format": 1, "entries": [entry | {"promoted": True}]})


def _read_store(folder: Path) -> object:
    read_store(folder)
    return [run.name for run in promoted_runs(folder)]


def _sweep(folder: Path, _secret: Path) -> None:
    shutil.copytree(_template(True), folder / "runs" / "run")
    job = {"slo": "p99=60ms,wrong=0%", "label": None, "batching": "off", "replicas": 1, "policy": "round-robin"}
    request = {"protocol": "grpc", "headers": ["a"]}
    options = {"redundancy": {"spare": 1, "factor": 1.0}, "headroom": 0.2, "price": 1.5, "policy": "random"}
    day = [{"label": "0", "start": 0.0, "seconds": 86_400.0, "rate": 5.0}]
    plan = {"rate": 9.0, "spans": day, "options": options}
    report = {"slo": "p99=60ms,wrong=0", "plan": plan, "seed": 0, "servers": None}
    _as_json(
        folder / "sweep.json",
        {"format": 5, "job": job | {"seed": 0, "request": request}, "done": {"ladder 1": "run"}, "report": report},
    )


def _read_sweep(folder: Path) -> object:
    found = SweepFolder.open(folder)
    steps = read_steps(found)
    Slo.parse(found.setting("slo"))
    return fit_options(found, 0, None, FULL), len(steps)


def _model(folder: Path, _secret: Path) -> None:
    rates = np.array([2.0, 20, 40, 60, 80, 90, 95])
    factors = np.linspace(1.0, 5.0, len(COLUMNS))

    def table(capacity: float) -> Any:
        room = np.maximum(capacity - rates, 1e-9)
        return np.where(rates[:, None] < capacity, factors / room[:, None], np.inf)

    capacities = np.linspace(97.5, 102.5, 5)
    parameter_set = ParameterSet(QueueModel.independent(1), np.sort(np.random.default_rng(1).exponential(0.01, 200)))
    replicates = np.array([table(capacity) for capacity in capacities])
    model = CapacityModel(parameter_set, rates, table(100.0), replicates, capacities, (2.0, 92.0), 0.02)
    steps = (measurement(Stage.LADDER, users=1), measurement(Stage.KNEE, rate=50.0))
    write_model(folder, StoredModel("server", {"target": "embedded"}, "p99=250ms,wrong=0%", model, steps))


def _plan(folder: Path) -> object:
    sweeps = compare_sweeps([read_model(folder)], PlanRequest(500.0), [PlanOptions()], None)
    return sweeps_markdown(sweeps, 500.0)


def _journal(folder: Path, _secret: Path) -> None:
    output = ResumableFile(folder / "out.tsv", {"format": "tsv"}, resume=False)
    output.write(b"1\t1\ta\t0.5\n", b"a")
    output.checkpoint()
    output.close()


def _resume(folder: Path) -> object:
    output = ResumableFile(folder / "out.tsv", {"format": "tsv"}, resume=True)
    try:
        return output.items
    finally:
        output.close()


def _as_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def _gate(folder: Path, _secret: Path) -> None:
    _as_json(folder / "gate.json", {"format": 2, "verdict": "PASS", "reason": "no change", "metrics": []})


def _finished(folder: Path, _secret: Path) -> None:
    _run(True, folder)


def _unfinished(folder: Path, _secret: Path) -> None:
    _run(False, folder)


_SAMPLES: Final = ("server-metrics.csv", "client-metrics.csv")

KINDS: Final = (
    Kind("run-manifest", _finished, ("run.json",), _report, links=True),
    Kind("run-changed", _finished, ("*.parquet", "*.csv", "*.hlog"), _report, mutate_bytes, links=True, digest=str),
    Kind("run-records", _finished, ("requests.parquet",), _report, mutate_bytes, _checksums),
    Kind("run-samples", _finished, _SAMPLES, _report, mutate_text, _checksums),
    Kind("run-sentences", _finished, ("sentences.txt",), _report, mutate_text, _checksums, links=True),
    Kind("unfinished-manifest", _unfinished, ("run.json",), _report, links=True),
    Kind("unfinished-records", _unfinished, ("requests.blocks",), _report, _mutate_blocks, links=True),
    Kind("unfinished-samples", _unfinished, _SAMPLES, _report, mutate_text, links=True),
    Kind("baselines", _store, ("baselines.json",), _read_store, links=True),
    Kind("gate-verdict", _gate, ("gate.json",), lambda folder: read_verdict(folder / "gate.json"), links=True),
    Kind("sweep", _sweep, ("sweep.json",), _read_sweep, links=True),
    Kind("capacity-model", _model, ("model.json",), _plan, links=True),
    Kind("score-journal", _journal, ("out.tsv.progress", "out.tsv"), _resume, fresh=True),
)
