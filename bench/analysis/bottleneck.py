"""What limited the throughput of a run: the load generator, the server, the offered load, or the users."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bench.analysis.check import Behind
from bench.analysis.run import Analysis
from bench.core.errors import UsageError
from bench.core.units import format_number, format_percent, pluralize
from bench.serving.container_limits import NO_LIMITS
from bench.serving.target import parse_target

BUSY: Final = 0.9
"""Fraction of the cores from which a processor is the limit: the rest is lost to scheduling."""
_CLIENT_CHECKS: Final = {
    "worker CPU": "it used all of its processor",
    "event-loop lag": "it had to wait for its processor",
    "start delay": "it sent requests late",
    "dropped": "it never sent some of the requests",
    "N = X·R": "requests waited in it",
}
"""Checks that the load generator fails, the plainest cause first, and what each means."""


class Limit(StrEnum):
    """What limited the throughput."""

    CLIENT = "load generator"
    SERVER = "server"
    MACHINE = "shared machine"
    RATE = "offered load"
    USERS = "number of users"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What limited the throughput of a run.

    Args:
        limit: what it was.
        text: one sentence with the figures that say so.
    """

    limit: Limit
    text: str


def bottleneck(analysis: Analysis) -> Bottleneck:
    """What limited the throughput of a run, from its validity checks and its samples of CPU."""
    metrics = analysis.summary.metrics
    if not analysis.summary.counts.get("ok"):
        return Bottleneck(Limit.UNKNOWN, "No request was successful: the throughput is 0.")
    failed = {check.name: check for check in analysis.validity.checks if check.passed is False}
    client = failed.keys() & _CLIENT_CHECKS.keys()
    # Where the server falls behind, requests wait for a user, and may never be sent.
    behind = any(check.behind is Behind.SIGN for check in failed.values())
    if client and not (behind and all(failed[name].behind is not None for name in client)):
        reason = next(text for name, text in _CLIENT_CHECKS.items() if name in client)
        return Bottleneck(Limit.CLIENT, f"The load generator distorted the run: {reason}.")
    if client or failed.keys() & {"backlog", "achieved rate"}:
        return Bottleneck(Limit.SERVER, f"The server fell behind the offered load{_cpu_clause(analysis)}.")
    if analysis.run.manifest.open_loop:
        asked, sent = analysis.run.manifest.requested_rate, metrics["sent_rate"].center
        rate = f"{format_number(asked)} requests/s" if asked is not None else "its rate"
        sent_text = f" ({format_number(sent)}/s sent)" if sent is not None else ""
        lost = analysis.summary.due - analysis.summary.counts["ok"] - analysis.summary.counts["wrong_answer"]
        if lost:
            return Bottleneck(
                Limit.UNKNOWN,
                f"The schedule offered {rate}{sent_text}, of which {lost:,} got no answer: whether the server "
                "holds more is not known.",
            )
        return Bottleneck(
            Limit.RATE, f"The schedule offered {rate}{sent_text} and the server kept up: it may hold more."
        )
    return _closed_loop(analysis)


def _closed_loop(analysis: Analysis) -> Bottleneck:
    users = analysis.run.manifest.workload.users
    own, shared = _cores(analysis)
    server = _center(analysis, "server_cpu")
    client = _center(analysis, "client_cpu")
    if server is not None and server >= BUSY * own:
        return Bottleneck(Limit.SERVER, f"The server used {format_number(server)} of {_text(own)}.")
    if server is not None and client is not None and server + client >= BUSY * shared:
        return Bottleneck(
            Limit.MACHINE,
            f"Server ({format_number(server)} cores) and load generator ({format_number(client)}) share "
            f"{_text(shared)} and used nearly all of them.",
        )
    return Bottleneck(
        Limit.USERS,
        f"Closed loop: {pluralize(users, 'user')}, each waiting for an answer before the next request"
        f"{_cpu_clause(analysis)}; more users may give more.",
    )


def _cores(analysis: Analysis) -> tuple[float, float]:
    """Cores that the server may use, and those that it shares with the load generator."""
    manifest = analysis.run.manifest
    machine = manifest.environment
    if manifest.server.get("backend") not in ("docker", "remote"):
        # A child of the load generator is under its limits.
        return machine.usable_cores, machine.usable_cores
    try:
        limits = parse_target(manifest.target).limits
    except UsageError:
        # The target may have a name of the user's.
        limits = NO_LIMITS
    known = [float(limit) for limit in (limits.cpus, limits.core_count) if limit is not None]
    return min([float(machine.cores), *known]), machine.cores


def _cpu_clause(analysis: Analysis) -> str:
    server, (cores, _) = _center(analysis, "server_cpu"), _cores(analysis)
    if server is None:
        return ""
    share = format_percent(min(server / cores, 1.0), 2)
    return f"; it used {format_number(server)} of {_text(cores)} ({share})"


def _text(cores: float) -> str:
    return f"{format_number(cores)} {'core' if cores == 1 else 'cores'}"


def _center(analysis: Analysis, name: str) -> float | None:
    estimate = analysis.summary.metrics.get(name)
    return None if estimate is None else estimate.center
