"""What accumulates in a day of load, without its clock: `python -m benchmarks.simulated_day [--hours N] [PART...]`.

Each part is fed the records of 86,400 seconds, and its memory, by tracemalloc, at the end of the day is compared with
that after a third of it: at most `FLAT` more.

- recorder: a worker's records, taken as a block each second.
- collector: those blocks and the samples of worker and server, from the report to the run folder; the bytes of its
  files by request, and the run's completion.
- figures: the figures while it runs, with all that watches them: the look for an overload, the line for the command,
  the Prometheus page, OpenTelemetry, the web page's tab. The time of a look is printed, too.
- metrics: the embedded server's metrics and their page.
- journal: an output that can be resumed, with a checkpoint every hundred items.
- locust: Locust's own statistics, which have no goal: they hold each second.
- report: the page of a finished day, in a process of its own; its peak by request.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Final

from bench.cli import main as bertbench
from benchmarks.day_parts import (
    CollectorPart,
    Day,
    FiguresPart,
    JournalPart,
    LocustPart,
    MetricsPart,
    Part,
    RecorderPart,
)
from benchmarks.verdicts import goal, missed, note

RATE: Final = 10
FLAT: Final = 512 << 10
"""Bytes that a part may hold more at the end of the day than after a third of it. Rare latencies come in time, each a
bucket of 16 bytes in some of the batches; the parts themselves have a fixed size."""
LEAST_HOURS: Final = 14
REPORT_BYTES: Final = 700
"""Peak memory of a report for each request: some columns, and the copies of one at a time."""


def grown(make: Callable[[], Part], day: Day) -> tuple[int, int]:
    """Bytes that a part holds after a third of the day and at its end, above those before it was made."""
    gc.collect()
    tracemalloc.start()
    try:
        part, held = make(), []
        for second in range(day.seconds):
            part.feed(second)
            if second + 1 in (day.seconds // 3, day.seconds):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    part.close()
    return held[0], held[1]


def judge(name: str, first: int, last: int) -> None:
    text = f"{name}: {first / 1024:,.0f} KiB after a third of the day, {last / 1024:,.0f} at its end"
    if name == "locust":
        note(f"{text}, {(last - first) / 2**20:.1f} MiB more")
    else:
        goal(last - first <= FLAT, f"{text} (at most {FLAT >> 10} more)")


def report(day: Day, root: Path) -> None:
    """The peak and the page of a day's report against those of a third of it."""
    found = []
    for part in (Day(day.seconds // 3, day.rate), day):
        collector = CollectorPart(part, root)
        for second in range(part.seconds):
            collector.feed(second)
        collector.close()
        words = [sys.executable, "-m", "benchmarks.simulated_day", "--report", str(collector.path)]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
        found.append({**json.loads(done.stdout), "requests": part.due.size})
    short, whole = found
    more = (whole["peak"] - short["peak"]) / (whole["requests"] - short["requests"])
    goal(
        more <= REPORT_BYTES,
        f"report: {whole['requests']:,} requests in {whole['seconds']:.0f} s with {whole['peak'] / 2**20:.0f} MiB, "
        f"{short['requests']:,} with {short['peak'] / 2**20:.0f}: {more:.0f} bytes a request (at most {REPORT_BYTES}); "
        f"pages of {whole['page'] / 1024:,.0f} and {short['page'] / 1024:,.0f} KiB",
    )


def print_report(path: Path) -> None:
    """Writes the report of a run, and prints its peak memory, seconds and the size of its page."""
    began = time.perf_counter()
    err = StringIO()
    code = bertbench(("report", str(path)), StringIO(), err)
    assert code == 0, err.getvalue()
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    peak, page = 1024 * int(line.split()[1]), (path / "report.html").stat().st_size
    print(json.dumps({"peak": peak, "seconds": time.perf_counter() - began, "page": page}))


def run(name: str, day: Day) -> None:
    """Feeds one part."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        makers: dict[str, Callable[[], Part]] = {
            "recorder": lambda: RecorderPart(day),
            "collector": lambda: CollectorPart(day, root),
            "figures": lambda: FiguresPart(day),
            "metrics": lambda: MetricsPart(day),
            "journal": lambda: JournalPart(day, root),
            "locust": lambda: LocustPart(day),
        }
        if name == "report":
            report(day, root)
        else:
            judge(name, *grown(makers[name], day))


# Locust changes the standard library for gevent, which must come before all other imports.
LOCUST_FIRST: Final = "import locust, sys; from benchmarks.simulated_day import main; sys.exit(main())"
PARTS: Final = ("recorder", "collector", "figures", "metrics", "journal", "report", "locust")


def run_each(names: Sequence[str], day: Day) -> int:
    """Feeds the parts, each in a process of its own: what one leaves is not counted for the next; 1 if one grows."""
    print(
        f"{day.seconds / 3600:g} hours: {day.seconds:,} s at {day.rate} requests/s, {day.due.size:,} records",
        flush=True,
    )
    options = ["--hours", str(day.seconds / 3600), "--rate", str(day.rate)]
    code = 0
    for name in names:
        program = ["-c", LOCUST_FIRST] if name == "locust" else ["-m", "benchmarks.simulated_day"]
        code |= subprocess.run([sys.executable, *program, *options, "--alone", name], check=False).returncode
    return int(bool(code))


def main() -> int:
    """Feeds the parts that are named, or all; 1 if one grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24.0, help="of the day (default: 24)")
    parser.add_argument("--rate", type=int, default=RATE, help=f"requests/s (default: {RATE})")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    args = parser.parse_args()
    if args.report is not None:
        print_report(args.report)
        return 0
    if args.hours < LEAST_HOURS:
        parser.error(
            f"--hours: the newest seconds fill their tables in a third of {LEAST_HOURS} h; give as many or more"
        )
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    day = Day(round(3600 * args.hours), args.rate)
    if args.alone is None:
        return run_each(args.parts or PARTS, day)
    run(args.alone, day)
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
