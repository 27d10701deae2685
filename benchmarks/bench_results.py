"""What recording and summarising cost: `python -m benchmarks.bench_results [REQUESTS]`.

Writes a synthetic run of REQUESTS (default 10 million) requests, finishes it, and summarises it in a fresh process.
Bars: an `append` costs 2 µs; ten million requests are summarised in 30 s and 1.5 GB.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.results.blocks import ROW, RecordBuffer
from bench.results.manifest import Origin, describe
from bench.results.records import Ended, Outcome, RequestShape
from bench.results.run_folder import RunWriter
from bench.workload.arrivals import parse_arrivals
from tests.support.synthetic_runs import ENVIRONMENT, WORKLOAD

BLOCK = 5000


def append_cost(records: int = 200_000) -> float:
    """Seconds an append, the best of five."""
    best = float("inf")
    for _ in range(5):
        buffer = RecordBuffer(0)
        shape = buffer.shape(RequestShape("rest", "score", 1, 1, 14, 1, 16, 700))
        start = time.perf_counter()
        for _ in range(records):
            buffer.append(Ended(1.0, 1.1, 1.2, Outcome.OK, None, 600, 1e-4, None), shape, False)
        best = min(best, (time.perf_counter() - start) / records)
    return best


def write(root: Path, records: int) -> tuple[Path, float]:
    """A run of a single-server queue at 70 % load, and the seconds that finishing it took."""
    rate = 5000.0
    rng = np.random.default_rng(1)
    workload = replace(WORKLOAD, duration=records / rate, warmup=0.0)
    arrivals = parse_arrivals(f"poisson:rate={rate:g}")
    manifest = describe(
        workload,
        arrivals,
        Origin(target="embedded", environment=ENVIRONMENT, workers=1, started="2026-01-31T12:00:00Z"),
        records,
    )
    due = np.cumsum(rng.exponential(1 / rate, records))
    service = rng.exponential(0.7 / rate, records)
    walk = np.concatenate(([0.0], np.cumsum(service[:-1] - np.diff(due))))
    done = due + walk - np.minimum.accumulate(walk) + service
    writer = RunWriter.create(root, "large", manifest)
    buffer = RecordBuffer(0)
    for start in range(0, records, BLOCK):
        part = slice(start, min(start + BLOCK, records))
        rows = np.zeros(part.stop - part.start, ROW)
        rows["due"], rows["sent"], rows["done"] = due[part], due[part], done[part]
        rows["protocol"], rows["checked"], rows["sentences"], rows["rows"] = 1, 1, 1, 1
        rows["sentence"] = rng.integers(0, 200, rows.size)
        rows["words"] = rows["tokens"] = 3 + rows["sentence"] % 50
        rows["bytes_out"], rows["bytes_in"] = 100 + 10 * rows["words"], 60 + 12 * rows["words"]
        rows["build"], rows["parse"] = rng.exponential(2e-5, rows.size), rng.exponential(5e-5, rows.size)
        rows["version"] = 1
        writer.add_block(buffer.pack(rows, ("score",)))
    start_time = time.perf_counter()
    return writer.finish(elapsed=float(done[-1])), time.perf_counter() - start_time


SUMMARISE = """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from bench.analysis.run import analyse
from bench.results.run_reader import open_run
found = analyse(open_run(Path(sys.argv[1])))
p99 = found.summary.metrics["from_due_p99"]
# Not ru_maxrss: a new process inherits its parent's.
(peak,) = [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({"seconds": time.perf_counter() - start, "peak_bytes": peak, "due": found.summary.due,
                  "p99": [p99.lo, p99.center, p99.hi], "effective": p99.n, "verdict": str(found.validity)}))
"""


def main() -> int:
    """Prints one JSON object."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        path, seconds = write(Path(folder), records)
        size = (path / "requests.parquet").stat().st_size
        done = subprocess.run([sys.executable, "-c", SUMMARISE, str(path)], capture_output=True, text=True, check=True)
    report = {
        "requests": records,
        "append_seconds": append_cost(),
        "finish_seconds": seconds,
        "finish_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "bytes_a_request": size / records,
        "summarise": json.loads(done.stdout),
    }
    print(json.dumps(report, indent=2))
    summary = report["summarise"]
    return int(summary["seconds"] > 30 or summary["peak_bytes"] > 1.5e9 or report["append_seconds"] > 2e-6)


if __name__ == "__main__":
    sys.exit(main())
