"""`bertbench plan-load`: the workers, cores and machines that a rate needs of the load generator."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Annotated, TextIO

from msgspec import Meta

from bench.cli.common.command_output import CommandOutput
from bench.cli.common.json_document import Document
from bench.core.cores import allowed_cores
from bench.core.errors import ExitCode, UsageError, did_you_mean
from bench.core.units import format_percent, format_rate
from bench.load.selftest.load_plan import LoadPlan, plan_load
from bench.load.selftest.self_test import SelfTest, read_self_tests
from bench.report.text import table


class PlanLoadDocument(Document, frozen=True, kw_only=True):
    """The load generator's machines for a rate."""

    command: str = "plan-load"
    rate: Annotated[float, Meta(description="requests/s")]
    share: Annotated[float, Meta(description="fraction of its ceiling that a worker is used to")]
    cores: Annotated[int, Meta(description="logical cores of each machine")]
    clients: Annotated[Mapping[str, LoadPlan], Meta(description="by name: protocol and client")]


def run(args: argparse.Namespace, out: CommandOutput, err: TextIO) -> int:
    """Plans with the ceilings that `bertbench calibrate` has stored on this machine.

    Raises:
        UsageError: none is stored, or not that of the client.
    """
    cores = args.cores or len(allowed_cores())
    plans = {name: plan_load(args.rate, test.ceiling, args.share, cores) for name, test in _chosen(args.client).items()}
    document = PlanLoadDocument(rate=args.rate, share=args.share, cores=cores, clients=plans)
    out.result(document, _text(document))
    return ExitCode.OK


def _chosen(client: str | None) -> Mapping[str, SelfTest]:
    """The stored self-tests, or that of one client.

    Raises:
        UsageError: there is none.
    """
    stored = read_self_tests()
    if not stored:
        raise UsageError("the load generator's ceiling is not known on this machine; run bertbench calibrate first")
    if client is None:
        return stored
    if client not in stored:
        known = ", ".join(stored)
        cure = did_you_mean(client, stored) or "; run bertbench calibrate"
        raise UsageError(f"--client: the ceiling of {client!r} was not measured, only those of {known}{cure}")
    return {client: stored[client]}


def _text(document: PlanLoadDocument) -> str:
    share, cores = format_percent(document.share), document.cores
    rows: list[Sequence[str]] = [("", "ceiling", "workers", "cores", "machines", "used")]
    for name, plan in document.clients.items():
        counts = (f"{number:,}" for number in (plan.workers, plan.cores, plan.machines))
        rows.append((name, format_rate(plan.ceiling), *counts, format_percent(plan.utilization)))
    return (
        f"{format_rate(document.rate, 6)}, each worker used to {share} of its ceiling, machines of {cores} cores\n"
        f"{table(rows)}\n"
        "One core a worker, one for the master; of more than two cores one is left to the machine's kernel.\n"
        "The ceiling is that of this machine on loopback: measure others, and the network between, there."
    )
