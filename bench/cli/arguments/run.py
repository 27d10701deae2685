"""The arguments of `bertbench run`."""

import argparse
from pathlib import Path
from typing import Final

from bench.cli.common.options import add_scenario_options, add_target_options
from bench.cli.common.output_files import refuse_overlaps
from bench.cli.common.values import DURATION, FOLDER, SEED, Value, whole
from bench.cli.common.verdict_files import add_verdict_options, verdict_files
from bench.load.locust_adapter.options import OPTIONS, READERS, read_arrivals
from bench.load.setup.catalog import SCENARIOS
from bench.workload.due_times import MOST_USERS
from bench.workload.workload import MOST_REPEATS

# Options that this command defines itself.
OWN: Final = frozenset({"arrivals", "model_dir", "model_name", "results", "server_flags", "seed", "warmup"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's arguments."""
    parser.add_argument("scenario", choices=tuple(SCENARIOS), help="what to run: a file of scenarios/")
    add_target_options(parser)
    parser.add_argument(
        "--arrivals",
        type=Value(lambda text: read_arrivals(text, 1), as_text=True),
        action="append",
        metavar="TEXT",
        help=f"{OPTIONS['arrivals'][1]} (default: the scenario's); repeatable, run in random order",
    )
    parser.add_argument(
        "--duration", type=DURATION, metavar="TIME", help="measured time, without the warm-up (default: the scenario's)"
    )
    parser.add_argument(
        "--warmup",
        type=Value(READERS["warmup"]),
        metavar="TIME",
        help="load before the measured time (default: a tenth of it, at most 10s, or more where the run settles later)",
    )
    parser.add_argument(
        "--users", type=whole(1, MOST_USERS), metavar="N", help="number of users: the most requests in flight"
    )
    parser.add_argument(
        "--repeat",
        type=whole(1, MOST_REPEATS),
        default=1,
        metavar="N",
        help="independent runs of each --arrivals (default: 1)",
    )
    parser.add_argument("--processes", type=whole(1, 1024), metavar="N", help="load-generating processes (default: 1)")
    parser.add_argument(
        "--seed", type=SEED, default=0, help="random seed of the first repeat, plus 1 for each further one (default: 0)"
    )
    parser.add_argument(
        "--out", type=FOLDER, default=Path("results"), metavar="DIR", help="folder of the runs (default: results)"
    )
    add_verdict_options(parser)
    add_scenario_options(parser, OWN)


def check(args: argparse.Namespace) -> None:
    """Refuses files of verdicts that overwrite each other or take the place of the runs.

    Raises:
        UsageError: they do.
    """
    refuse_overlaps(verdict_files(args), folders=[args.out])
