"""`bertbench calibrate`: ceiling and floor of the load generator on this machine, against a null server."""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TextIO

from msgspec import Meta

from bench.analysis.run import analyse
from bench.bert.contract.golden import read_golden
from bench.bert.demo.demo_model import demo_model_dir
from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.cli.common.load_generator import drive_once
from bench.core import interrupts
from bench.core.cache import make_cache_dir
from bench.core.errors import ExitCode, TargetError, UsageError
from bench.core.units import format_rate, format_seconds
from bench.load.locust_adapter.options import make_spec
from bench.load.selftest.null_server import null_server
from bench.load.selftest.self_test import WAYS, SelfTest, store_self_tests
from bench.load.setup.catalog import SCENARIOS
from bench.load.setup.run_spec import address_of
from bench.results.run_reader import find_runs
from bench.server.running import RunningServer

SHORTEST: Final = 1.0


class CalibrateDocument(Document, frozen=True, kw_only=True):
    """What each client reaches against a null server: requests/s, and seconds."""

    command: str = "calibrate"
    clients: Annotated[Mapping[str, SelfTest], Meta(description="by name: protocol and client")]
    stored: Annotated[str, Meta(description="file that runs read the ceilings from")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Measures and stores each way's ceiling (all users) and floor (one user), recording and checking everything.

    Raises:
        UsageError: too short a duration.
        TargetError: the null server did not come up, or a measurement failed.
    """
    seconds = args.duration
    if seconds < SHORTEST:
        raise UsageError(f"--duration: {format_seconds(seconds)} is too short to measure; give 1s or more")
    model_dir = args.model_dir or demo_model_dir()
    make_cache_dir()
    if read_golden(model_dir).golden.fixed is not None:
        raise UsageError(
            f"{model_dir} has only the article's fixed-shape signature; give an export with both signatures"
        )
    found: dict[str, SelfTest] = {}
    rows = [f"{'':<16}{'ceiling':>16}{'floor, p50':>14}"]
    out.part(rows[0])
    # What was measured is not lost with what comes after it.
    kept = interrupts.noting(lambda: f"{' and '.join(found)} measured and stored" if found else "")
    with kept, null_server(model_dir) as addresses, tempfile.TemporaryDirectory() as folder:
        for name in args.ways:
            server = RunningServer(addresses["rest"], addresses["grpc"], "bert", "null")
            ceiling = measure(name, server, model_dir, args.users, seconds, Path(folder) / name, err)[0]
            floor = measure(name, server, model_dir, 1, seconds, Path(folder) / f"{name}-one", err)[1]
            found[name] = SelfTest(ceiling, floor, args.users, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            stored = store_self_tests({name: found[name]})
            rows.append(f"{name:<16}{format_rate(ceiling):>16}{format_seconds(floor):>14}")
            out.part(rows[-1])
    out.result(
        CalibrateDocument(clients=found, stored=str(stored)),
        f"one process, everything recorded and checked; stored in {stored}",
        "\n".join(rows),
    )
    return ExitCode.OK


def measure(
    name: str, server: RunningServer, model_dir: Path, users: int, seconds: float, results: Path, err: TextIO
) -> tuple[float, float]:
    """Requests/s and median latency, seconds, of `users` in closed loop.

    Raises:
        TargetError: the run failed, or had failed requests.
    """
    scenario, client = WAYS[name]
    values = {"transport": client, "warmup": 1.0, "model_dir": model_dir, "results": results}
    spec = make_spec(SCENARIOS[scenario], values, address_of(server, scenario), users, round(seconds + 1))
    spec = replace(spec, servers=(server,), target_name="null", command=tuple(sys.argv))
    code = drive_once(spec, None, err).code
    if code:
        raise TargetError(f"the load generator failed on the null server (exit code {code}); run it again")
    metrics = analyse(find_runs([results])[0]).summary.metrics
    rate, latency = metrics["throughput"].center, metrics["from_send_p50"].center
    if rate is None or latency is None:
        raise TargetError("the measurement is too short for a result; give a longer --duration")
    return rate, latency
