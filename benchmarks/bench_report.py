"""What a report of a large run costs: `python -m benchmarks.bench_report [REQUESTS]`.

Writes a synthetic run of REQUESTS (default 1 million) requests and reports it in a fresh process; opens the page in
headless Chromium where there is one. Bars: 10 s and 1 GB; a page of 1.5 MB whose first paint takes 1 s.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.bench_results import write

REPORT = """
import json, sys, time
start = time.perf_counter()
from pathlib import Path
from bench.report.runs.run_reports import write_run_reports
from bench.results.run_reader import open_run
list(write_run_reports([open_run(Path(sys.argv[1]))]))
(peak,) = [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time(), "peak_bytes": peak}))
"""


def first_paint(page: Path) -> float | None:
    """Seconds from the start of the navigation to the first contentful paint; None without Chromium."""
    path = shutil.which("chromium")
    if path is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        window = browser.new_page()
        window.goto(page.resolve().as_uri())
        paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        window.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length")
        found = float(window.evaluate(paint)) / 1e3
        browser.close()
    return found


def main() -> int:
    """Prints one JSON object."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path, _ = write(Path(folder), records)
        done = subprocess.run([sys.executable, "-c", REPORT, str(path)], capture_output=True, text=True, check=True)
        page = path / "report.html"
        found = {"requests": records, **json.loads(done.stdout), "page_bytes": page.stat().st_size}
        found["first_paint_seconds"] = first_paint(page)
    print(json.dumps(found, indent=2))
    slow = found["seconds"] > 10 or found["peak_bytes"] > 1e9
    late = found["first_paint_seconds"] is not None and found["first_paint_seconds"] > 1
    return int(slow or late or found["page_bytes"] > 1.5e6)


if __name__ == "__main__":
    sys.exit(main())
