"""Run folders: what a finished one holds, and what a kill leaves."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from bench.core.errors import ExitCode, UsageError, exit_code_of, one_line
from bench.objectives.grammar import Objective, parse_objectives
from bench.objectives.until import parse_until
from bench.objectives.verdicts import ObjectiveResult, ObjectivesResult, Verdict
from bench.results import manifest as manifest_file
from bench.results import parquet, run_folder
from bench.results.blocks import MOST_SIGNATURES, OUTCOME_CODES, Block, RecordBuffer, parse_block
from bench.results.manifest import Origin, RunFile, Stopping, describe, read_run_file
from bench.results.records import Outcome, RequestRecord
from bench.results.run_folder import RunWriter
from bench.results.run_reader import Run, find_runs, open_run
from bench.results.samples import ClientSample
from bench.stats.estimate import Estimate
from bench.workload.arrivals import parse_arrivals
from tests.results.test_blocks import DROPPED, RECORD, WRONG
from tests.support.synthetic_runs import ENVIRONMENT, WORKLOAD, simulate, write_run

MANIFEST = describe(
    WORKLOAD,
    parse_arrivals("closed:users=4"),
    Origin(target="embedded", environment=ENVIRONMENT, workers=1, started="2026-01-31T12:00:00.123456Z"),
)
NEWEST = manifest_file._FILE.version


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    requests = simulate()
    for index, outcome in enumerate(Outcome):
        requests.outcome[100 + index] = outcome
    requests.sent[106] = requests.done[106] = np.nan
    return write_run(tmp_path_factory.mktemp("results"), requests, workers=3)


def test_the_folder_holds_what_the_contract_names(finished: Run) -> None:
    files = {entry.name for entry in finished.path.iterdir()}
    names = ["requests.parquet", "timeseries.csv", "server-metrics.csv", "client-metrics.csv", "histogram.hlog"]
    assert files == {"run.json", *names}
    assert finished.name == "20260131T120000Z-synthetic"
    assert finished.finished
    assert set(finished.file.checksums) == set(names)


def test_one_line_of_pandas_reads_the_requests(finished: Run) -> None:
    frame = pd.read_parquet(finished.path / "requests.parquet")
    assert list(frame.columns) == list(RequestRecord.__dataclass_fields__)
    counts = frame["outcome"].value_counts().to_dict()
    assert counts == finished.file.counts
    assert sum(counts.values()) == finished.manifest.scheduled == len(frame)
    dropped = frame[frame["outcome"] == "dropped"].iloc[0]
    for name in ("sent", "done", "bytes_out", "bytes_in", "build", "parse", "wrong_kind", "version"):
        assert pd.isna(dropped[name]), name
    assert frame[frame["outcome"] == "wrong_answer"]["wrong_kind"].tolist() == ["drift"]
    assert set(frame["worker"]) == {0, 1, 2}


def test_records_are_written_and_read_without_pandas(finished: Run, tmp_path: Path) -> None:
    """pyarrow imports it for many of its conversions, where it is installed; each run would pay for that."""
    code = f"""
import sys
from pathlib import Path
from bench.results.parquet import COLUMNS, TableWriter
from bench.results.run_reader import open_run
run = open_run(Path({str(finished.path)!r}))
columns = run.columns(COLUMNS)
with TableWriter(Path({str(tmp_path / "again.parquet")!r})) as table:
    table.write(columns, run.signatures)
sys.exit("pandas" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    again, first = pd.read_parquet(tmp_path / "again.parquet"), pd.read_parquet(finished.path / "requests.parquet")
    pd.testing.assert_frame_equal(again, first)


def test_finished_and_unfinished_runs_give_the_same_columns(tmp_path: Path) -> None:
    requests = simulate()
    requests.outcome[5] = Outcome.WRONG_ANSWER
    whole = write_run(tmp_path, requests, workers=2)
    cut = write_run(tmp_path, requests, workers=2, finish=False)
    assert (whole.finished, cut.finished) == (True, False)
    assert cut.path.name.endswith("-synthetic-2")
    left, right = whole.columns(parquet.COLUMNS), cut.columns(parquet.COLUMNS)
    for name in parquet.COLUMNS:
        np.testing.assert_array_equal(left[name], right[name], name)
        assert left[name].dtype == right[name].dtype, name
    assert whole.signatures == cut.signatures == ("score",)


def test_nulls_keep_their_numbers_both_ways(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path, "x", MANIFEST) as writer:
        buffer = RecordBuffer(worker=4)
        for record in (RECORD, WRONG, DROPPED):
            buffer.append_record(record)
        writer.add_block(buffer.take())
        before = open_run(writer.path).columns(parquet.COLUMNS)
        after = open_run(writer.finish(elapsed=2.0)).columns(parquet.COLUMNS)
    for name in parquet.COLUMNS:
        np.testing.assert_array_equal(before[name], after[name], name)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sent", np.nan, "a dropped request that was sent, or one never sent that is not dropped"),
        ("done", np.nan, "a request sent and never done"),
        ("done", 0.0, "a request done before it was sent"),
        ("wrong_kind", 1, "a kind of wrong answer on an answer that is not wrong"),
        ("build", np.inf, "a build time that is not from 0 to"),
        ("parse", -1.0, "a parse time that is not from 0 to"),
    ],
)
def test_stored_records_that_contradict_themselves_are_refused(
    name: str, value: float, message: str, finished: Run, tmp_path: Path
) -> None:
    """Their figures were NaN or wrong, or analysing them crashed."""
    columns = {key: np.array(values) for key, values in finished.columns(parquet.COLUMNS).items()}
    columns[name][5] = value
    with parquet.TableWriter(tmp_path / "requests.parquet") as writer:
        writer.write(columns, finished.signatures)
    with pytest.raises(UsageError, match=message):
        list(parquet.read_table(tmp_path / "requests.parquet", parquet.COLUMNS, 1000, parquet.SignatureTable()))


def test_as_many_signatures_as_are_accepted_are_written(finished: Run, tmp_path: Path) -> None:
    columns = finished.columns(parquet.COLUMNS)
    columns["signature"] = (np.arange(columns["due"].size) % MOST_SIGNATURES).astype(np.uint8)
    names = [f"s{number}" for number in range(MOST_SIGNATURES)]
    with parquet.TableWriter(tmp_path / "requests.parquet") as writer:
        writer.write(columns, names)
    table = parquet.SignatureTable()
    (read,) = parquet.read_table(tmp_path / "requests.parquet", ["signature"], 10_000, table)
    assert [table.names[code] for code in read["signature"]] == [names[code] for code in columns["signature"]]


def test_batches_are_bounded_and_add_up(finished: Run) -> None:
    sizes = [batch["due"].size for batch in finished.batches(["due"], size=100)]
    assert max(sizes) <= 100
    assert sum(sizes) == sum(finished.file.counts.values())


def test_a_day_of_blocks_with_few_records_is_read_once() -> None:
    """Each was counted again with each that followed: minutes at the end of a day at a request a second."""
    buffer, looked_at = RecordBuffer(worker=4), 0

    class Watched(Block):
        def __getattribute__(self, name: str) -> object:
            nonlocal looked_at
            looked_at += name == "rows"
            return super().__getattribute__(name)

    buffer.append_record(RECORD)
    rows = parse_block(buffer.take()).rows
    groups = list(run_folder._batches((Watched(4, number, ("score",), rows) for number in range(1000)), 300))
    assert [len(group) for group in groups] == [300, 300, 300, 100]
    assert looked_at <= 2000


def test_a_run_without_a_request(tmp_path: Path) -> None:
    for finish in (False, True):
        writer = RunWriter.create(tmp_path, "empty", MANIFEST)
        writer.finish(elapsed=1.0) if finish else writer.close()
        columns = open_run(writer.path).columns(parquet.COLUMNS)
        assert {name: values.size for name, values in columns.items()} == dict.fromkeys(parquet.COLUMNS, 0)
    assert len(pd.read_parquet(writer.path / "requests.parquet")) == 0


def test_a_block_that_comes_twice_counts_once_and_a_lost_one_is_told(tmp_path: Path) -> None:
    buffer = RecordBuffer(worker=4)
    blocks = []
    for _ in range(4):
        buffer.append_record(RECORD)
        blocks.append(buffer.take())
    writer = RunWriter.create(tmp_path, "x", MANIFEST)
    for block in (blocks[3], blocks[0], blocks[0], b""):
        writer.add_block(block)
    assert writer.counts["ok"] == 2
    run = open_run(writer.finish(elapsed=1.0))
    assert run.manifest.warnings == ("2 of the 4 record blocks of worker 4 never arrived",)


@pytest.mark.parametrize(
    ("interrupted", "note"),
    [
        (False, "9 of the 10 scheduled requests left no record"),
        (True, "stopped 1 s into the run: 9 of the 10 scheduled requests were not due any more"),
    ],
)
def test_scheduled_requests_without_a_record_are_told(tmp_path: Path, interrupted: bool, note: str) -> None:
    manifest = replace(MANIFEST, scheduled=10)
    writer = RunWriter.create(tmp_path, "x", manifest)
    buffer = RecordBuffer(worker=4)
    buffer.append_record(RECORD)
    writer.add_block(buffer.take())
    run = open_run(writer.finish(elapsed=1.0, interrupted=interrupted))
    assert run.manifest.warnings == (note,)
    assert run.file.interrupted is interrupted


def test_warnings_are_on_disk_at_once(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, "x", MANIFEST)
    writer.add_warning("worker 1 was lost")
    assert open_run(writer.path).manifest.warnings == ("worker 1 was lost",)
    writer.close()


def test_dying_while_finishing_leaves_an_unfinished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step up to the last must leave a folder that says so and still gives its records."""
    for step in ("_convert", "file_digest", "write_atomically"):
        writer = RunWriter.create(tmp_path, step, MANIFEST)
        buffer = RecordBuffer(worker=4)
        buffer.append_record(RECORD)
        writer.add_block(buffer.take())

        def die(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(RunWriter if step == "_convert" else run_folder, step, die)
            with pytest.raises(KeyboardInterrupt):
                writer.finish(elapsed=1.0)
        run = open_run(writer.path)
        assert not run.finished
        assert run.columns(["due"])["due"].tolist() == [1.5]


WRITER = """
import sys, itertools
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from bench.results.blocks import RecordBuffer
from bench.results.run_folder import RunWriter
from tests.results.test_blocks import RECORD
from tests.results.test_run_folder import MANIFEST
from bench.results.samples import ClientSample

writer = RunWriter.create(Path(sys.argv[1]), "killed", MANIFEST)
buffer = RecordBuffer(worker=4)
for count in itertools.count(1):
    for _ in range(100):
        buffer.append_record(RECORD)
    writer.add_block(buffer.take())
    writer.add_client_sample(ClientSample(time=float(count), worker=4, cpu=0.5))
    print(count, flush=True)
"""


def test_a_killed_writer_loses_nothing_it_had_handed_over(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), root], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        for _ in range(20):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        reported = 20 + len(process.stdout.read().splitlines())
    process.wait()
    (run,) = find_runs([tmp_path])
    assert not run.finished
    assert run.columns(["due"])["due"].size >= reported * 100
    assert run.client_samples()["time"].size >= reported
    assert not (run.path / "requests.parquet").exists()


@contextlib.contextmanager
def full_after(size: int) -> Iterator[None]:
    """No file can grow beyond so many bytes, as on a disk that is full by then."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


ENOUGH = 1 << 40


@pytest.mark.parametrize(
    ("load", "end"),
    [*((size, size) for size in (0, 100, 6_000, 60_000)), (ENOUGH, 1_000), (ENOUGH, 4_000), (ENOUGH, ENOUGH)],
)
def test_a_disk_that_is_full_at_any_stage(load: int, end: int, tmp_path: Path) -> None:
    """The manifest, a block, the Parquet file: one line, no run that reads as finished, and what was stored is read."""
    stored = 0
    failed = None
    try:
        with full_after(load), RunWriter.create(tmp_path, "full", MANIFEST, sentences=["A text."] * 10) as writer:
            buffer = RecordBuffer(worker=4)
            for _ in range(10):
                for number in range(100):
                    buffer.append_record(replace(RECORD, due=number * 0.0137, done=2 + number * 0.00713))
                writer.add_block(buffer.take())
                stored += 100
                writer.add_client_sample(ClientSample(time=1.0, worker=4, cpu=0.5))
            with full_after(end):
                writer.finish(elapsed=3.0)
    except OSError as error:
        failed = error
    left = {entry.name for entry in tmp_path.glob("*/*")}
    assert not [name for name in left if name.endswith(".tmp")]
    assert (failed is None) == (end == ENOUGH)
    if failed is not None:
        assert re.fullmatch(r"cannot write /\S+: the file grows larger than is allowed; .*", one_line(failed))
        assert exit_code_of(failed) is ExitCode.USAGE
    if "run.json" in left:
        (run,) = find_runs([tmp_path])
        assert run.finished == (failed is None)
        assert run.columns(["due"])["due"].size == stored


def test_what_a_full_disk_cut_off_is_not_in_front_of_what_follows(tmp_path: Path) -> None:
    """Space that is free again while a run ends: the next block and the next sample were glued to the half ones."""
    buffer = RecordBuffer(worker=4)
    blocks = []
    for due in (0.25, 0.5, 0.75):
        buffer.append_record(replace(RECORD, due=due))
        blocks.append(buffer.take())
    with RunWriter.create(tmp_path, "full", MANIFEST) as writer:
        writer.add_block(blocks[0])
        with (
            full_after((writer.path / "requests.blocks").stat().st_size + 9),
            pytest.raises(OSError, match="too large"),
        ):
            writer.add_block(blocks[1])
        writer.add_client_sample(ClientSample(time=1.0, worker=4))
        with (
            full_after((writer.path / "client-metrics.csv").stat().st_size + 2),
            pytest.raises(OSError, match="too large"),
        ):
            writer.add_client_sample(ClientSample(time=2.0, worker=4))
        writer.add_block(blocks[2])
        writer.add_client_sample(ClientSample(time=3.0, worker=4))
        run = open_run(writer.path)
        assert run.columns(["due"])["due"].tolist() == [0.25, 0.75]
        assert run.client_samples()["time"].tolist() == [1.0, 3.0]
        # The one that was not stored is missing, and can be given again.
        assert writer.add_block(blocks[0]) is None
        assert writer.add_block(blocks[1]) is not None
        assert writer.counts["ok"] == 3


@pytest.mark.parametrize("sentences", [["A text."] * 10, []])
def test_a_run_that_cannot_begin_leaves_no_folder(sentences: list[str], tmp_path: Path) -> None:
    with full_after(10), pytest.raises(OSError, match="too large"):
        RunWriter.create(tmp_path, "full", MANIFEST, sentences=sentences)
    assert not list(tmp_path.iterdir())


def test_changed_and_missing_files_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path, simulate())
    path = run.path / "timeseries.csv"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UsageError, match="was changed"):
        open_run(run.path)
    assert open_run(run.path, verify=False).finished
    path.unlink()
    with pytest.raises(UsageError, match="is missing"):
        open_run(run.path)


def test_find_runs_takes_a_run_or_a_folder_of_runs(tmp_path: Path) -> None:
    requests = simulate(workload=replace(WORKLOAD, duration=2.0))
    names = [write_run(tmp_path, requests, slug=slug).name for slug in ("b", "a")]
    assert [run.name for run in find_runs([tmp_path])] == sorted(names)
    assert [run.name for run in find_runs([tmp_path / names[0]])] == names[:1]
    (tmp_path / "empty").mkdir()
    for path, message in [(tmp_path / "no", "no run folder"), (tmp_path / "empty", "holds no run")]:
        with pytest.raises(UsageError, match=message):
            find_runs([path])


@pytest.mark.parametrize(
    ("name", "value"), [("ceiling", 0.0), ("ceiling", -1.0), ("requested_rate", -1.0), ("elapsed", -1.0)]
)
def test_values_that_no_run_has_are_refused(tmp_path: Path, name: str, value: float) -> None:
    run = write_run(tmp_path, simulate(workload=replace(WORKLOAD, duration=2.0)))
    file = run.path / "run.json"
    stored = orjson.loads(file.read_bytes())
    file.write_bytes(orjson.dumps(stored | {name: value}))
    with pytest.raises(UsageError, match=rf"is not a valid run manifest \({name} is {value:g}"):
        open_run(run.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (b"{", "is not JSON"),
        (b"[]", "run.json is not a run manifest of bertbench; restore it, or give another"),
        (b'{"format": "1"}', "run.json is not a run manifest of bertbench"),
        (b'{"format": 99}', f"has run manifest format 99, this version reads up to {NEWEST}; update bertbench"),
        (b'{"format": 1}', "is not a valid run manifest .workload is missing."),
        (b'{"format": 1, "workload": 3}', "is not a valid run manifest .not fields of format 1."),
        (b'{"format": %d}' % NEWEST, "is not a valid run manifest .finished is missing."),
    ],
)
def test_bad_headers_get_one_line(tmp_path: Path, change: bytes, message: str) -> None:
    (tmp_path / "run.json").write_bytes(change)
    with pytest.raises(UsageError, match=message) as caught:
        open_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_header_round_trip(finished: Run) -> None:
    raw = orjson.loads((finished.path / "run.json").read_bytes())
    assert raw["format"] == NEWEST
    assert raw["arrivals"] == "poisson:rate=50"
    assert finished.manifest.workload == WORKLOAD
    assert finished.manifest.environment == ENVIRONMENT
    assert finished.manifest.requested_rate == 50
    assert finished.manifest.stored_arrivals == parse_arrivals("poisson:rate=50")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"checksums": ...}, "checksums is missing"),
        ({"workload": {"usres": 3}}, "workload.usres: unknown field"),
        ({"workload": {"users": 0}}, "users must be 1 or more and at most 100,000, not 0"),
        ({"workload": {"users": "3"}}, "workload.users: expected int, got str"),
        ({"environment": {"colour": "red"}}, "environment.colour: unknown field"),
        ({"environment": {"gpus": [1]}}, r"environment.gpus\[0\]: expected str, got int"),
        ({"counts": {"ok": "many"}}, r"counts\[...\]: expected int, got str"),
        ({"colour": "red"}, "colour: unknown field"),
    ],
)
def test_a_header_that_was_edited_is_refused_by_the_field(
    finished: Run, change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    raw = orjson.loads((finished.path / "run.json").read_bytes())
    for name, value in change.items():
        if value is ...:
            del raw[name]
        else:
            raw[name] = raw[name] | value if isinstance(value, dict) else value
    (tmp_path / "run.json").write_bytes(orjson.dumps(raw))
    with pytest.raises(
        UsageError,
        match=rf"^\S+run.json is not a valid run manifest \({named}\); restore it, or give another run folder$",
    ):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("protocol", "before", "after"),
    [("rest", "fast", "fast"), ("grpc", "grpc", "grpcio"), ("both", "fast", "fast+grpcio")],
)
def test_runs_of_format_1_went_by_grpcio(finished: Run, protocol: str, before: str, after: str) -> None:
    path = finished.path / "run.json"
    raw = orjson.loads(path.read_bytes())
    raw["format"] = 1
    raw["workload"] |= {"protocol": protocol, "transport": before}
    path.write_bytes(orjson.dumps(raw))
    assert read_run_file(path).manifest.workload.transport == after


def test_runs_of_format_4_have_no_objectives(finished: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    raw = orjson.loads(finished.file.to_bytes())
    for name in ("objectives", "until", "stopping", "verdicts"):
        del raw[name]
    path.write_bytes(orjson.dumps(raw | {"format": 4}))
    assert read_run_file(path) == finished.file


def test_objectives_and_what_became_of_them_are_read_as_written(tmp_path: Path) -> None:
    estimate = Estimate("from_due_p99", 0.1, None, 0.2, 0.95, 900.5, ("a warning",))
    results = (ObjectiveResult(Objective("p99", 0.25), Verdict.PASS, estimate, "a note", look=3),)
    manifest = replace(MANIFEST, objectives=parse_objectives("p99<=250ms,wrong=0"), until=parse_until("p99±5%"))
    stopping = Stopping(planned=600.0, looks=3, reason="every objective is decided", decided=results, confidence=0.975)
    file = RunFile(manifest=manifest, stopping=stopping, verdicts=ObjectivesResult.of(results, valid=False))
    path = tmp_path / "run.json"
    path.write_bytes(file.to_bytes())
    assert read_run_file(path) == file


@pytest.mark.parametrize("kind", ["trace:", " Trace :"])
def test_the_file_of_a_trace_is_not_read_again(kind: str) -> None:
    """A run folder may come from others, and its trace lies outside it."""
    manifest = replace(MANIFEST, arrivals=f"{kind}/nowhere/due.txt", arrivals_digest="sha256:0")
    assert manifest.stored_arrivals is None


def test_a_code_for_every_outcome_reaches_the_counts(finished: Run) -> None:
    assert set(finished.file.counts) == {str(name) for name in OUTCOME_CODES}
    assert all(finished.file.counts[str(outcome)] == 1 for outcome in Outcome if outcome is not Outcome.OK)


def test_an_older_header_is_brought_up_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path, simulate(workload=replace(WORKLOAD, duration=2.0)))
    steps: list[int] = []
    further = [NEWEST + 1, NEWEST + 2]

    def update_to(version: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def step(raw: dict[str, Any]) -> dict[str, Any]:
            steps.append(version)
            return raw | {"target": f"{raw['target']}+{version}"}

        return step

    file = replace(manifest_file._FILE, version=NEWEST + 2, updates={step: update_to(step) for step in further})
    monkeypatch.setattr(manifest_file, "_FILE", file)
    assert open_run(run.path).manifest.target == f"embedded+{NEWEST + 1}+{NEWEST + 2}"
    assert steps == further
