"""The validity of a run: VALID, or INVALID with reasons.

A run is INVALID when the load generator may have distorted its metrics, or when it was not in a steady state: its
metrics are reported, but are no basis for a decision. Wrong answers and failures are the server's and do not make a run
INVALID. A server that falls behind the rate of an open loop does, since its latency grows with the duration; such a run
still shows that it is slow (`Validity.shows_server`), for which the gate counts it. Each limit is a constant here, with
its reason. What was not sampled is not checked, with a warning.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.check import Behind, Check, Limit
from bench.analysis.little import check_little
from bench.analysis.load_checks import achieved, backlog
from bench.analysis.measured import Measured
from bench.analysis.metrics import CEILING_FRACTION
from bench.analysis.start_delay import all_waiting, late_by, start_delay_limit, users_waited
from bench.analysis.users import UsersPresent, users_present
from bench.core.message_text import cures_once
from bench.core.types import Floats
from bench.core.units import format_apart, format_number, format_percent, format_seconds, pluralize, were
from bench.results.run_reader import Run
from bench.serving.errors import lacks_text
from bench.stats.percentiles import nearest_rank
from bench.stats.stationarity import level_shift
from bench.workload.arrivals import Burst, ClosedLoop, Constant, Poisson

DROPPED_FRACTION: Final = 0.001
"""Largest fraction of due requests that were never sent: more would change a p99.9."""
WORKER_CPU: Final = 0.9
"""Largest CPU utilization of any worker's core, p90 of its samples. Locust warns at the same limit."""
LOOP_LAG: Final = 0.02
"""Largest event-loop lag of any worker, seconds, p90 of its samples (each the maximum of a second)..."""
LOOP_LAG_FRACTION: Final = 0.1
"""...or this fraction of the median latency from due, if larger."""
SHIFT: Final = 0.1
"""Smallest change in the mean of log latency between two parts of a run that is not stationary (10.5 % up, 9.52 %
down)..."""
SHIFT_P: Final = 0.001
"""...if its p-value is also below this. Simulated on steady queues up to 70 % utilization: at most 1 false alarm in
60."""
SHIFT_TIMES: Final = 20.0
"""Fewest correlation times of each half: with fewer, 5 % and more of steady queues are called unsteady."""
WARMUP_HEAD: Final = 0.2
"""The fraction at the start that is compared with the last half, to detect an incomplete warm-up."""
_CLIENT_LIMIT: Final = ": the client was the limit; add workers or lower the rate"
_GENERATOR_STARVED: Final = ": the load generator was starved of CPU; give it a core of its own"


@dataclass(frozen=True, slots=True)
class Validity:
    """The validity of a run.

    Args:
        checks: all checks, in order.
    """

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        """Whether all checks passed that could be made."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Failed checks, one line each; what is to be done about several of them stands in the last one."""
        return tuple(cures_once([check.text for check in self.checks if check.passed is False]))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Checks that could not be made, one line each."""
        return tuple(check.text for check in self.checks if check.passed is None)

    @property
    def overloaded(self) -> bool:
        """Whether the server fell behind the rate, and nothing else makes the run INVALID."""
        found = [check.behind for check in self.checks if check.passed is False]
        return Behind.SIGN in found and None not in found

    @property
    def shows_server(self) -> bool:
        """Whether the metrics are the server's doing: VALID, or only overloaded."""
        return self.valid or self.overloaded

    def __str__(self) -> str:
        return "VALID" if self.valid else "INVALID: " + "; ".join(self.reasons)


def check_validity(run: Run, measured: Measured) -> Validity:
    """Checks `run`, whose records are `measured`."""
    # What the load generator lacked first: it may be why none was answered.
    checks = [_ended(run), _accounted(run, measured), _lacked(run), _answered(measured)]
    if measured.due.size and measured.seconds > 0:
        ok = measured.ok
        latency = measured.done[ok] - measured.due[ok]
        typical = nearest_rank(latency, [0.5])[0] if latency.size else 0.0
        samples, users = _measured_samples(run, measured), users_present(run, measured)
        checks += [
            _start_delay(run, measured, typical, samples, users),
            _dropped(measured),
            _worker_cpu(samples),
            _loop_lag(samples, typical),
            *_users(run, users),
            check_little(run, measured, samples, users),
        ]
        if run.manifest.open_loop:
            checks += [achieved(measured), backlog(measured, _steady_by_design(run), _burst_period(run))]
        if latency.size and _steady_by_design(run):
            checks += _stationary(latency)
    return Validity(tuple(checks))


def ceiling_warning(run: Run) -> str | None:
    """A warning if the requested rate is near or above the measured ceiling of the load generator."""
    ceiling, rate = run.manifest.ceiling, run.manifest.requested_rate
    if ceiling is None or rate is None or rate < CEILING_FRACTION * ceiling:
        return None
    return (
        f"{format_number(rate)} requests/s requested: {format_percent(rate / ceiling)} of the load generator's ceiling "
        f"of {format_number(ceiling)} (warning from {format_percent(CEILING_FRACTION)}); add workers or lower the rate"
    )


def _ended(run: Run) -> Check:
    if not run.finished:
        return Check("ended", False, "the run did not finish: its load generator was killed or is still running")
    if not run.file.interrupted:
        return Check("ended", True, "the run finished")
    planned = run.manifest.workload.warmup + run.manifest.workload.duration
    text = f"the run was stopped after {format_seconds(run.file.elapsed or 0.0)} of {format_seconds(planned)}"
    if run.file.overload is None:
        return Check("ended", False, text)
    return Check("ended", False, f"{text}: {run.file.overload}", behind=Behind.SIGN)


def _accounted(run: Run, measured: Measured) -> Check:
    found = int(measured.due.size) + sum(measured.warmup.values())
    scheduled = run.manifest.scheduled
    if run.file.interrupted:
        # Each worker hears of the stop at its own moment, so how many were due until then is what has a record.
        return Check("accounted", True, f"{pluralize(found, 'request')} until it was stopped, one outcome each")
    if scheduled is not None and found != scheduled:
        return Check(
            "accounted",
            False,
            f"{pluralize(scheduled, 'request')} {were(scheduled)} scheduled, {found:,} have a record",
        )
    return Check("accounted", True, f"{pluralize(found, 'request')}, one outcome each")


def _answered(measured: Measured) -> Check:
    due = pluralize(int(measured.due.size), "request")
    if not measured.due.size:
        return Check("answered", False, "no request was due in the measured part")
    if not measured.ok.any():
        return Check("answered", False, f"none of the {due} was successful")
    return Check("answered", True, f"{measured.ok.sum():,} of {due} were successful")


def _lacked(run: Run) -> Check:
    """Failures of the load generator's own machine, which the outcomes do not tell from those of the server."""
    if not (text := lacks_text(run.file.lacks)):
        return Check("own limits", True, "the load generator lacked neither open files nor ports nor memory")
    return Check("own limits", False, f"not the server but the load generator was the limit: {text}")


def _start_delay(
    run: Run, measured: Measured, typical: float, samples: dict[str, Floats], users: UsersPresent | None
) -> Check:
    delays = measured.sent - measured.due
    delays = delays[~np.isnan(delays)]
    if not delays.size:
        return Check("start delay", False, "no request was sent")
    limit, late, why, behind = start_delay_limit(typical), late_by(delays), _GENERATOR_STARVED, None
    least = users.least if users is not None else run.manifest.workload.users
    # A client at its limit has all users in flight too.
    if _beyond_client(run, samples):
        why = _CLIENT_LIMIT
    elif not least:
        why = ": for a time there was no user; keep at least one"
    elif late > limit.value and run.manifest.open_loop and users_waited(measured, least, limit):
        why, behind = f": {all_waiting(least)}; add users, or lower the rate if the server is slower", Behind.SIGN
    text = "1 % of the requests were sent {} or more after they were due"
    return limit.check("start delay", late, text, format_seconds, why, behind)


def _beyond_client(run: Run, samples: dict[str, Floats]) -> bool:
    """Whether a worker used all of its core, or the requested rate is above the load generator's measured ceiling."""
    busiest, ceiling, rate = _high(samples, "cpu"), run.manifest.ceiling, run.manifest.requested_rate
    return (busiest is not None and busiest > WORKER_CPU) or (
        ceiling is not None and rate is not None and rate > ceiling
    )


def _dropped(measured: Measured) -> Check:
    dropped = int(np.isnan(measured.sent).sum())
    text = f"{dropped:,} of {pluralize(measured.due.size, 'request')}, {{}}, {were(dropped)} never sent"
    limit = Limit(DROPPED_FRACTION, "more would change a p99.9")
    return limit.check("dropped", dropped / measured.due.size, text, format_percent, behind=Behind.EFFECT)


def _worker_cpu(samples: dict[str, Floats]) -> Check:
    cpu = _high(samples, "cpu")
    if cpu is None:
        return Check(
            "worker CPU", None, "the CPU utilization of the load generator was not sampled, so it is not checked"
        )
    limit = Limit(WORKER_CPU, "a worker uses one core at most")
    return limit.check("worker CPU", cpu, "a worker used {} of a core", format_percent, _CLIENT_LIMIT)


def _loop_lag(samples: dict[str, Floats], typical: float) -> Check:
    lag = _high(samples, "loop_lag")
    if lag is None:
        return Check(
            "event-loop lag", None, "the event-loop lag of the load generator was not sampled, so it is not checked"
        )
    limit = Limit.widest(
        Limit(LOOP_LAG, "the scheduling delay of a busy machine"),
        Limit(LOOP_LAG_FRACTION * typical, f"{format_percent(LOOP_LAG_FRACTION)} of the median latency"),
    )
    text = "event-loop lag of the load generator up to {}"
    return limit.check("event-loop lag", lag, text, format_seconds, _GENERATOR_STARVED)


def _users(run: Run, users: UsersPresent | None) -> list[Check]:
    """In closed loop the users are the load, so their number must not change."""
    arrivals = run.manifest.arrivals
    if users is None or run.manifest.open_loop:
        return []
    if users.constant and users.most == run.manifest.workload.users:
        return [Check("users", True, f"{users} throughout")]
    text = f"{users} in the measured part; {arrivals} asks for {pluralize(run.manifest.workload.users, 'user')}"
    return [Check("users", False, f"{text}: the metrics are of a changing load; do not change the users during a run")]


def _burst_period(run: Run) -> float | None:
    arrivals = run.manifest.stored_arrivals
    return arrivals.every if isinstance(arrivals, Burst) else None


def _steady_by_design(run: Run) -> bool:
    return isinstance(run.manifest.stored_arrivals, ClosedLoop | Constant | Poisson)


def _stationary(latency: Floats) -> list[Check]:
    """Checks that log latency is stationary; the first part separately, to detect an incomplete warm-up."""
    logs = np.log(np.maximum(latency, 1e-9))
    halves = level_shift(logs)
    head = level_shift(logs, head=WARMUP_HEAD)
    if halves is None or head is None or halves.times < SHIFT_TIMES:
        return [
            Check(
                "stationary",
                None,
                "the run is too short compared with the correlation time of latency, so its steadiness is not checked",
            )
        ]
    tail = level_shift(logs[round(WARMUP_HEAD * logs.size) :])
    found = []
    for name, shift, span in (
        ("warm-up", head, "latency in the first fifth of the run was {} than in its last half"),
        ("stationary", tail, "without the first fifth, latency in the first half was {} than in the second"),
    ):
        change = shift.early - shift.late if shift is not None else 0.0
        # Relative to the late level: e**0.1 is 10.5 % higher, e**-0.1 is 9.52 % lower.
        moved, limit = (abs(float(np.expm1(np.copysign(size, change)))) for size in (abs(change), SHIFT))
        value_text, limit_text = format_apart(moved, limit, format_percent)
        chance = shift.p if shift is not None else 1.0
        passed = abs(change) <= SHIFT or chance >= SHIFT_P
        # A start with lower latency is not an incomplete warm-up: something changed later.
        cause = "the warm-up was too short" if shift is head and change > 0 else "the run was not steady"
        said = span.format(f"{value_text} {'higher' if change > 0 else 'lower'}")
        p_text = format_number(chance)
        allowed, reason = f"the limit of {limit_text}", f"p {p_text}" if p_text.startswith("<") else f"p = {p_text}"
        if abs(change) <= SHIFT:
            text = f"{said}, within {allowed} ({reason})"
        elif passed:
            text = f"{said}, above {allowed}, which may be chance ({reason})"
        else:
            text = f"{said}, above {allowed} and more than chance ({reason}): {cause}"
        # Latency grows with a backlog.
        behind = Behind.EFFECT if change < 0 else None
        found.append(Check(name, passed, text, moved, limit, reason, behind))
    return found


def _measured_samples(run: Run, measured: Measured) -> dict[str, Floats]:
    samples = run.client_samples()
    # A sample covers the second before it. After a stop the users leave, and nothing more is sent.
    ends = measured.ends + (0.0 if run.file.interrupted else 0.5)
    inside = (samples["time"] > measured.begins + 0.5) & (samples["time"] <= ends)
    return {name: values[inside] for name, values in samples.items()}


def _high(samples: dict[str, Floats], name: str) -> float | None:
    """The p90 of the known values of one worker, of that with the highest: among many, one that is at its limit would
    not show in a p90 of all samples, and its requests are more than those beyond a p99."""
    known = ~np.isnan(samples[name])
    worker, values = samples["worker"][known], samples[name][known]
    return max((nearest_rank(values[worker == one], [0.9])[0] for one in np.unique(worker)), default=None)
