"""The Python API on stored runs, beside the commands that do the same; the page about it is executed."""

import csv
import io
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

from bench import api
from bench.cli import main
from bench.core.atomic_files import write_atomically
from bench.core.errors import InconclusiveError, TargetError, UsageError
from bench.gate import baseline_store
from bench.gate.types import VerdictKind
from bench.load.selftest.null_server import null_server
from bench.report.comparison import comparison_text
from bench.results.records import Outcome, RequestRecord
from tests.support.failing_server import listening
from tests.support.queue_server import queue_server
from tests.support.synthetic_runs import WORKLOAD, exponential, simulate, write_run
from tests.support.toy_golden import toy_golden, write_model_dir

pytestmark = pytest.mark.long(50)

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "results/example/rest"
IMPORTS = "from bench import api\nfrom bench.capacity.queue.latency_table import Effort"
PAGE = (ROOT / "docs/reference/python-api.md").read_text(encoding="utf-8")


def runs(root: Path, count: int, mean: float = 0.003, seed: int = 1) -> Path:
    """A folder of repeats on a simulated server."""
    for repeat in range(count):
        workload = replace(WORKLOAD, seed=seed + repeat, duration=15.0, warmup=1.0)
        requests = simulate("constant:rate=60", workload, exponential(mean))
        write_run(root, requests, "constant:rate=60", workload, slug=f"run-{seed + repeat}")
    return root


def call(*words: object) -> tuple[int, str]:
    out = io.StringIO()
    return main([str(word) for word in words], out, io.StringIO()), out.getvalue()


def example(number: int, replaced: Mapping[str, str] | None = None, scale: str = "api.QUICK") -> list[str]:
    """The lines that an example of the page prints, executed in a process of its own."""
    code = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[number]
    for old, new in (replaced or {}).items():
        assert code.count(f'"{old}"') == 1
        code = code.replace(f'"{old}"', f'"{new}"')
    code = code.replace("api.QUICK", scale).replace("from bench import api", IMPORTS)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_page_s_example_of_a_stored_run() -> None:
    first, second, *rest = example(0)
    assert re.fullmatch(r"rest (not )?valid", first)
    assert re.fullmatch(r"p50 from due: 0\.\d+ s, 95 % interval 0\.\d+ s to 0\.\d+ s", second)
    assert rest[0].split()[0] == "count"


def test_the_page_s_example_of_a_run(tmp_path: Path) -> None:
    model = write_model_dir(tmp_path / "model")
    with null_server(model) as server:
        places = {"http://localhost:8501": server["rest"], "models/bert": str(model), "results": str(tmp_path / "out")}
        (line,) = example(1, places)
    (run,) = api.read_runs(tmp_path / "out")
    verdict = "VALID" if run.validity().valid else "INVALID"
    assert line == f"{run.name} {verdict} {run.summary().counts}"
    assert run.finished
    assert run.summary().counts["ok"] == run.summary().due > 50


def test_the_page_s_example_of_a_sweep(tmp_path: Path) -> None:
    """The page's sweep takes three minutes; this one measures a known queue of 100 requests/s for seconds."""
    scale = (
        "api.Scale(ladder=(1, 2, 4), single_user=1.5, single_user_runs=1, step=1.0, min_steps=3, knee=(0.5, 0.8), "
        "knee_seconds=1.0, repeats=1, hold_out=(0.65,), hold_out_seconds=1.0, confirm=0, warmup=0.2, retries=5, "
        "replicates=10, effort=Effort(1500), reference=Effort(1500, 10))"
    )
    model = write_model_dir(tmp_path / "model", toy_golden(20))
    out = tmp_path / "sweep"
    with queue_server(model, servers=1, mean=0.01, cv=0.3) as url:
        places = {"http://localhost:8501": url, "models/bert": str(model), "results/capacity": str(out)}
        sustained, *replicas = example(2, places, scale)
    center, lo, *ends = map(float, re.findall(r"\d+\.\d+", sustained))
    hi = ends[0] if ends else center
    assert 0 <= lo <= center <= hi < 130
    assert bool(ends) != sustained.endswith("to beyond the measured rates")
    plan = orjson.loads((out / "capacity.json").read_bytes())["plan"]
    # Where other work disturbs so short a sweep, its rate may be too uncertain for a plan.
    assert replicas == ([f"replicas: {plan['row']['replicas']}"] if plan else [])
    assert api.read_sweep(out).measurements
    assert (out / "capacity.md").is_file()


def test_the_page_s_example_of_a_live_gate(tmp_path: Path) -> None:
    """The candidate refuses every request."""
    model = write_model_dir(tmp_path / "model")
    (tmp_path / "baseline").mkdir()
    (tmp_path / "candidate").mkdir()
    with (
        listening(tmp_path / "baseline", model) as baseline,
        listening(tmp_path / "candidate", model, rejects_at=0) as candidate,
    ):
        places = {"models/bert": str(model), "http://localhost:8501": baseline["rest"]}
        first, second = example(3, {**places, "http://localhost:8601": candidate["rest"]})
    assert first == "REGRESSION 1"
    assert "to the candidate failed (rejected" in second


def test_a_live_gate_says_what_it_is_doing_and_what_it_compared(tmp_path: Path) -> None:
    """No time for a pair: INCONCLUSIVE, and nothing is raised."""
    model = write_model_dir(tmp_path / "model")
    with null_server(model) as server:
        variant = api.Variant("same", api.parse_target(server["rest"]), model)
        states: list[str] = []
        spec = api.GateSpec(baseline=variant, candidate=variant, protocol="rest", max_time=0.2, warmup=0.1, seed=7)
        report = api.live_gate(spec, states.append)
    assert (report.verdict.kind, report.exit_code) == (VerdictKind.INCONCLUSIVE, 3)
    assert states[0] == "warming up"
    assert (report.baseline, report.candidate, report.load) == ("same", "same", str(spec))
    assert "the gate compares it with itself" in report.verdict.warnings[-1]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"min_effect": 0.0}, "must be above 0"),
        ({"metrics": ("p98",)}, "no gate metric p98"),
        ({"max_time": 0.0}, "max_time is 0.0 s"),
        ({"max_time": float("inf")}, "max_time is inf s; give a time above 0, of at most 100000000 s"),
        ({"run_time": 1e9}, "run_time is 1000000000.0 s"),
        ({"warmup": -1.0}, "warmup is -1.0 s; it must be 0 to 100,000,000 s"),
        ({"seed": 1 << 70}, "seed must be 0 or more and at most"),
        ({"protocol": "both"}, "give rest or grpc"),
        ({"timeout": -1.0}, "timeout"),
    ],
)
def test_a_gate_spec_checks_its_values(values: dict[str, Any], text: str) -> None:
    variant = api.Variant("a", api.parse_target("embedded"), Path("model"))
    with pytest.raises(UsageError, match=text):
        api.GateSpec(baseline=variant, candidate=variant, **values)


def test_a_run_that_cannot_be_begun_is_one_line(tmp_path: Path) -> None:
    spec = api.RunSpec(
        scenario="x",
        protocol="rest",
        arrivals=api.parse_arrivals("poisson:rate=50"),
        users=1,
        duration=1.0,
        target=api.parse_target("http://127.0.0.1:9"),
        model_dir=write_model_dir(tmp_path / "model"),
        results=tmp_path / "out",
    )
    with pytest.raises(TargetError, match="does not answer") as caught:
        api.run(spec)
    assert "\n" not in str(caught.value)


def test_the_page_has_the_table_of_columns() -> None:
    rows = [f"| `{name}` | {column.unit} | {column.meaning} |" for name, column in api.COLUMNS.items()]
    assert PAGE.endswith("\n".join(["|---|---|---|", *rows]) + "\n")
    assert list(api.COLUMNS) == [field.name for field in fields(RequestRecord)]


def test_the_frame_of_the_example_is_its_parquet_file() -> None:
    frame = api.read_run(EXAMPLE).frame()
    stored = pd.read_parquet(EXAMPLE / "requests.parquet")
    assert list(frame.columns) == list(api.COLUMNS) == list(stored.columns)
    assert len(frame) == len(stored)
    for name in frame.columns:
        assert (frame[name].isna() == stored[name].isna()).all(), name
        known = stored[name].notna()
        assert frame[name][known].tolist() == stored[name][known].tolist(), name


@pytest.mark.parametrize("finished", [True, False])
def test_a_frame_has_one_row_a_request_and_na_for_what_is_absent(tmp_path: Path, finished: bool) -> None:
    requests = simulate()
    requests.sent[7] = requests.done[7] = np.nan
    requests.outcome[7] = Outcome.DROPPED
    requests.outcome[9] = Outcome.WRONG_ANSWER
    stored = write_run(tmp_path, requests, workers=2, finish=finished)
    run = api.read_run(stored.path)
    frame = run.frame().sort_values("due", ignore_index=True)
    assert run.finished is finished
    assert len(frame) == requests.due.size
    assert frame["due"].tolist() == sorted(requests.due)
    assert frame.loc[7, ["sent", "done", "bytes_in", "version"]].isna().all()
    assert frame.loc[9, "outcome"] == "wrong_answer"
    assert frame["wrong_kind"].notna().sum() == 1
    assert set(frame["worker"]) == {0, 1}
    assert str(frame["bytes_in"].dtype) == "UInt32"
    assert str(frame["version"].dtype) == "Int64"
    assert frame["warmup"].sum() == requests.warmup


def test_a_frame_of_a_run_without_requests(tmp_path: Path) -> None:
    path = write_run(tmp_path, simulate(), finish=False).path
    (path / "requests.blocks").unlink()
    assert list(api.read_run(path).frame().columns) == list(api.COLUMNS)


def test_a_summary_has_the_figures_of_the_report(tmp_path: Path) -> None:
    run = api.read_run(write_run(tmp_path, simulate()).path)
    (report,) = api.report(run, tmp_path / "out")
    assert report.folder == tmp_path / "out"
    assert (report.folder / "report.html").is_file()
    with (report.folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["metric"]: row for row in csv.DictReader(file) if not row["part"]}
    metrics = run.summary().metrics
    assert rows.keys() == metrics.keys()
    for name, summary in metrics.items():
        ends = ["" if end is None else repr(end) for end in (summary.center, summary.lo, summary.hi)]
        assert [rows[name][key] for key in ("center", "lo", "hi")] == ends
        assert (rows[name]["unit"], rows[name]["better"]) == (api.METRICS[name].unit, api.METRICS[name].better or "")
    assert rows["throughput"]["valid"] == str(run.validity().valid).lower()


def test_several_runs_are_reported_side_by_side(tmp_path: Path) -> None:
    folder = runs(tmp_path / "runs", 2)
    reports = api.report(folder)
    assert [report.folder for report in reports] == [run.path for run in api.read_runs(folder)]
    assert (folder / "report" / "report.html").is_file()


def test_compare_says_what_the_command_says(tmp_path: Path) -> None:
    before, after = runs(tmp_path / "a", 2), runs(tmp_path / "b", 2, mean=0.006, seed=50)
    found = api.compare(before, api.read_runs(after))
    assert call("compare", before, after) == (0, comparison_text(found))
    (change,) = [change for change in found.changes if change.metric.name == "from_due_p50"]
    assert change.verdict == "worse"
    other = write_run(tmp_path, simulate("poisson:rate=20"), "poisson:rate=20").path
    with pytest.raises(InconclusiveError, match="different loads"):
        api.compare(before, other)
    assert api.compare(before, other, anyway=True).changes


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sets")
    return runs(root / "a", 5), runs(root / "b", 5, mean=0.006, seed=50)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, []),
        ({"min_effect": 0.1, "metrics": ["p50", "memory"]}, ["--min-effect", "10%", "--metrics", "p50,memory"]),
        ({"min_effects": {"p99": 0.9}}, ["--min-effect", "p99=90%"]),
    ],
)
def test_the_gate_says_what_the_command_says(
    sets: tuple[Path, Path], options: dict[str, Any], words: Sequence[str]
) -> None:
    found = api.gate(*sets, **options)
    code, out = call("gate", "--baseline", sets[0], "--candidate", sets[1], *words)
    assert code == found.exit_code
    assert found.verdict.reason in out
    assert found.verdict.kind is VerdictKind.REGRESSION


def test_the_gate_takes_runs_and_a_store_of_baselines(sets: tuple[Path, Path], tmp_path: Path) -> None:
    entry = baseline_store.add_runs(tmp_path, [sets[0]], "main", datetime(2026, 1, 31, tzinfo=UTC))
    baseline_store.promote(tmp_path, entry.id)
    kinds = [api.gate(side, api.read_runs(sets[1])).verdict.kind for side in (tmp_path, api.read_runs(sets[0]))]
    assert kinds == [VerdictKind.REGRESSION] * 2


def test_the_gate_refuses_what_the_command_refuses(sets: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be different runs"):
        api.gate(sets[0], sets[0])
    with pytest.raises(UsageError, match="holds no runs"):
        api.gate(sets[0], tmp_path)
    with pytest.raises(UsageError, match="no gate metric 'p42'"):
        api.gate(*sets, min_effects={"p42": 0.1})


def test_a_changed_run_is_refused_unless_not_verified(tmp_path: Path) -> None:
    path = write_run(tmp_path, simulate()).path
    write_atomically(path / "timeseries.csv", b"")
    with pytest.raises(UsageError, match="was changed since the run"):
        api.read_run(path)
    assert len(api.read_run(path, verify=False).frame())


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no fitted model"):
        api.read_sweep(tmp_path)


def test_the_api_loads_neither_tensorflow_nor_locust_and_pandas_only_for_frames() -> None:
    code = """
import sys
from bench import api
print(*sys.modules)
run = api.read_run("results/example/rest")
run.summary()
print(*sys.modules)
run.frame()
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    first, read, last = (set(line.split()) for line in done.stdout.splitlines())
    assert not first & {"tensorflow", "locust", "gevent", "pandas"}
    assert not last & {"tensorflow", "locust", "gevent", "matplotlib"}
    assert "pandas" not in read
    assert "pandas" in last
    page = (ROOT / "docs/reference/python-api.md").read_text(encoding="utf-8")
    (named,) = re.findall(r"`bench\.api` loads (.*?);", page)
    heavy = {"numpy", "scipy", "pyarrow", "matplotlib", "pandas", "gevent"}
    assert set(re.split(r", | and ", named.lower())) == first & heavy
