"""How often simulated runs are stopped as overloaded: `python -m benchmarks.bench_overload [--seed N] [--runs N]`.

Single-server queues of known capacity, Poisson arrivals, two minutes after the warm-up, looked at each second. At 85 %
utilization at most 1 of 200 runs may be stopped, at 110 % half of them within 15 s; 95 % has no goal.
"""

import argparse
import itertools
import statistics

import numpy as np

from benchmarks.verdicts import goal, missed, note
from tests.support.overloaded_queue import queue_seconds, stopped_after

SECONDS = 120
CAPACITIES, VARIATIONS = (20.0, 50.0, 100.0, 400.0), (0.3, 1.0, 2.0)


def stops(utilization: float, capacity: float, cv: float, runs: int, seed: int) -> list[int | None]:
    """Seconds to the stop of each run; None where there was none."""
    rng = np.random.default_rng([seed, int(100 * utilization), int(capacity), int(10 * cv)])
    return [stopped_after(queue_seconds(utilization, capacity, SECONDS, cv, rng)) for _ in range(runs)]


def main() -> int:
    """Prints a line a queue; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=int, default=400, help="at 85 %%; a quarter of them at 95 and 110 %%")
    args = parser.parse_args()
    below = 0
    for capacity, cv in itertools.product(CAPACITIES, VARIATIONS):
        kept = stops(0.85, capacity, cv, args.runs, args.seed)
        near, over = (stops(share, capacity, cv, args.runs // 4, args.seed) for share in (0.95, 1.1))
        median = statistics.median(SECONDS if time is None else time for time in over)
        stopped, close = (sum(time is not None for time in found) for found in (kept, near))
        below += stopped
        note(f"{capacity:g}/s, cv {cv:g}: {stopped} of {len(kept)} stopped at 85 %, {close} of {len(near)} at 95 %")
        goal(median <= 15, f"{capacity:g}/s, cv {cv:g}: stopped after {median:g} s at 110 %, median (15 s at most)")
    total = args.runs * len(CAPACITIES) * len(VARIATIONS)
    goal(below <= total / 200, f"at 85 %: {below} of {total} runs stopped (1 of 200 at most)")
    return int(bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
