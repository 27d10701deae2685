"""Whether a run can be believed: VALID, or INVALID with the reasons.

A run is INVALID when what it shows may be the load generator's doing, or holds for no steady state: its figures are
then printed, but no decision may rest on them. Wrong answers and failures do not make a run INVALID: they are the
server's. Each limit stands here as a constant with its reason. What was not sampled is not checked, and a warning says
so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.measured import Measured
from bench.analysis.users import UsersPresent, users_present
from bench.core.types import Floats
from bench.core.units import format_apart, format_number, format_percent, format_seconds, pluralize, were
from bench.results.run_reader import Run
from bench.stats.littles_law import little_residual
from bench.stats.quantiles import nearest_rank
from bench.stats.stationarity import level_shift
from bench.workload.arrivals import ClosedLoop, Constant, Poisson, parse_arrivals

START_DELAY: Final = 0.005
"""Most p99 of `sent - due`, seconds: about what the scheduler of a busy two-core machine costs the client..."""
START_DELAY_SHARE: Final = 0.1
"""...or this share of the median latency from due, where that is more."""
ACHIEVED_RATE: Final = 0.99
"""Least share of the requests due in the measured part that were sent in it."""
DROPPED_SHARE: Final = 0.001
"""Most share of due requests that were never sent: more would move a p99.9."""
WORKER_CPU: Final = 0.9
"""Most use of a core by a worker, as the value that nine in ten of its samples keep under. Locust warns there too."""
LOOP_LAG: Final = 0.02
"""Most event-loop lag, seconds, as the value that nine in ten samples (each the worst of a second) keep under..."""
LOOP_LAG_SHARE: Final = 0.1
"""...or this share of the median latency from due, where that is more."""
LITTLE_RESIDUAL: Final = 0.1
"""Most share of N that N = X (R + Z) leaves open: in closed loop that share of the users' time went into the client."""
LITTLE_MIN_SAMPLES: Final = 10
"""Fewer samples of the requests in flight than this say nothing about their mean."""
SHIFT: Final = 0.1
"""Least change in the mean of log latency between two parts of a run that counts as not stationary (10.5 %)..."""
SHIFT_P: Final = 0.001
"""...if it is also this unlikely by chance. Simulated on steady queues up to 70 % load: at most 1 false call in 60."""
SHIFT_TIMES: Final = 20.0
"""Correlation times that each half must have: on fewer, steady queues are called unsteady in 5 % of runs and more."""
WARMUP_HEAD: Final = 0.2
"""The part at the start that is held against the last half, to see a warm-up that is not over."""
BACKLOG_FACTOR: Final = 3.0
"""Requests open at the end over those open on average in the first half: more means that the server falls behind."""
BACKLOG_SHARE: Final = 0.03
"""Least share of all due requests that must be open at the end for that..."""
BACKLOG_LEAST: Final = 10
"""...and least number of them: a few open requests come and go by chance."""
_CLIENT_LIMIT: Final = ": the client was the limit; add workers or lower the rate"
_HELD_UP: Final = ": the load generator was starved of CPU; give it a core of its own"

CEILING_SHARE: Final = 0.8
"""Share of the load generator's calibrated ceiling above which a run is warned."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Args:
        name: what.
        passed: whether the run stands; None if it could not be looked at.
        text: one line with the figure and the limit that it was held to.
        value: the figure, base units; None where there is none.
        limit: what it was held to in this run; None where there is none.
        reason: where that limit comes from; "" without a limit.
    """

    name: str
    passed: bool | None
    text: str
    value: float | None = None
    limit: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that a run is held to: the widest of several, each with its reason.

    Args:
        value: the limit, base units.
        reason: where it comes from.
    """

    value: float
    reason: str

    @classmethod
    def widest(cls, *limits: "Limit") -> "Limit":
        """The largest, the first among equals."""
        return max(limits, key=lambda limit: limit.value)

    def check(self, name: str, value: float, text: str, figure: Callable[[float, int], str], advice: str = "") -> Check:
        """Whether `value` is within it.

        Args:
            name: of the check.
            value: the figure.
            text: the line, with `{}` for the figure.
            figure: writes a figure with so many digits.
            advice: goes after the line where the value is beyond the limit.
        """
        shown, limit = format_apart(value, self.value, figure)
        line = f"{text.format(shown)} (limit {limit}: {self.reason})"
        passed = value <= self.value
        return Check(name, passed, line if passed else line + advice, value, self.value, self.reason)


@dataclass(frozen=True, slots=True)
class Validity:
    """The verdict on a run.

    Args:
        checks: everything that was looked at, in order.
    """

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        """Whether no check failed."""
        return not self.reasons

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not, one line each."""
        return tuple(check.text for check in self.checks if check.passed is False)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be looked at, one line each."""
        return tuple(check.text for check in self.checks if check.passed is None)

    def __str__(self) -> str:
        return "VALID" if self.valid else "INVALID: " + "; ".join(self.reasons)


def judge(run: Run, measured: Measured) -> Validity:
    """Looks at everything that can be looked at in `run`, whose records are `measured`."""
    checks = [_ended(run), _accounted(run, measured), _answered(measured)]
    if measured.due.size and measured.seconds > 0:
        ok = measured.ok
        latency = measured.done[ok] - measured.due[ok]
        typical = nearest_rank(latency, [0.5])[0] if latency.size else 0.0
        samples, users = _measured_samples(run, measured), users_present(run, measured)
        checks += [
            _start_delay(run, measured, typical, _why_late(run, measured, samples, users)),
            _dropped(measured),
            _worker_cpu(samples),
            _loop_lag(samples, typical),
            *_users(run, users),
            _little(run, measured, samples, users),
        ]
        if run.manifest.open_loop:
            checks += [_achieved(measured), _backlog(measured)]
        if latency.size and _steady_by_design(run):
            checks += _stationary(latency)
    return Validity(tuple(checks))


def ceiling_warning(run: Run) -> str | None:
    """A warning where more is asked than the load generator is known to give, or nearly so."""
    ceiling, rate = run.manifest.ceiling, run.manifest.requested_rate
    if ceiling is None or rate is None or rate < CEILING_SHARE * ceiling:
        return None
    return (
        f"{format_number(rate)} requests/s asked, {format_percent(rate / ceiling)} of this load generator's ceiling of "
        f"{format_number(ceiling)} (warned from {format_percent(CEILING_SHARE)}); add workers or lower the rate"
    )


def _ended(run: Run) -> Check:
    if not run.finished:
        return Check("ended", False, "the run did not finish: its load generator was killed, or still runs")
    if run.file.interrupted:
        planned = run.manifest.workload.warmup + run.manifest.workload.duration
        text = f"the run was stopped after {format_seconds(run.file.elapsed or 0.0)} of {format_seconds(planned)}"
        return Check("ended", False, text)
    return Check("ended", True, "the run came to its end")


def _accounted(run: Run, measured: Measured) -> Check:
    found = int(measured.due.size) + sum(measured.warmup.values())
    scheduled = run.manifest.scheduled
    if scheduled is not None and found != scheduled:
        return Check(
            "accounted",
            False,
            f"{pluralize(scheduled, 'request')} {were(scheduled)} scheduled, {found:,} left a record",
        )
    return Check("accounted", True, f"one outcome each: {pluralize(found, 'request')}")


def _answered(measured: Measured) -> Check:
    due = pluralize(int(measured.due.size), "request")
    if not measured.due.size:
        return Check("answered", False, "no request was due in the measured part")
    if not measured.ok.any():
        return Check("answered", False, f"none of the {due} ended well")
    return Check("answered", True, f"{measured.ok.sum():,} of {due} ended well")


def _start_delay(run: Run, measured: Measured, typical: float, why: str) -> Check:
    delays = measured.sent - measured.due
    delays = delays[~np.isnan(delays)]
    if not delays.size:
        return Check("start delay", False, "no request was sent")
    limit = Limit.widest(
        Limit(START_DELAY, "what a busy machine's scheduler costs"),
        Limit(START_DELAY_SHARE * typical, f"{format_percent(START_DELAY_SHARE)} of the median latency"),
    )
    text = "requests were sent up to {} after they were due, p99"
    return limit.check("start delay", nearest_rank(delays, [0.99])[0], text, format_seconds, why)


def _why_late(run: Run, measured: Measured, samples: dict[str, Floats], users: UsersPresent | None) -> str:
    # A client at its limit has all its users in flight too, so that is asked second.
    if _beyond_client(run, samples):
        return _CLIENT_LIMIT
    least = users.least if users is not None else run.manifest.workload.users
    if run.manifest.open_loop and most_in_flight(measured) >= least:
        was = "user was waiting for its answer" if least == 1 else "users were waiting for answers"
        return f": all {least:,} {was}; give more users, or the server is slower than the rate"
    return _HELD_UP


def _beyond_client(run: Run, samples: dict[str, Floats]) -> bool:
    """Whether a worker had no processor time left, or more was asked than the load generator's calibrated ceiling."""
    busiest, ceiling, rate = _high(samples["cpu"]), run.manifest.ceiling, run.manifest.requested_rate
    return (busiest is not None and busiest > WORKER_CPU) or (
        ceiling is not None and rate is not None and rate > ceiling
    )


def _achieved(measured: Measured) -> Check:
    due = measured.due.size / measured.seconds
    share = float((measured.sent < measured.ends).sum()) / measured.due.size
    shown, limit = format_apart(share, ACHIEVED_RATE, format_percent)
    sent, reason = format_number(share * due), "fewer would be another load"
    text = f"{sent} requests/s were sent of {format_number(due)} due, {shown} (limit {limit}: {reason})"
    return Check("achieved rate", share >= ACHIEVED_RATE, text, share, ACHIEVED_RATE, reason)


def _dropped(measured: Measured) -> Check:
    dropped = int(np.isnan(measured.sent).sum())
    text = f"{dropped:,} of {pluralize(measured.due.size, 'request')}, {{}}, {were(dropped)} never sent"
    limit = Limit(DROPPED_SHARE, "more would move a p99.9")
    return limit.check("dropped", dropped / measured.due.size, text, format_percent)


def _worker_cpu(samples: dict[str, Floats]) -> Check:
    cpu = _high(samples["cpu"])
    if cpu is None:
        return Check("worker CPU", None, "the load generator's CPU was not sampled: not checked")
    limit = Limit(WORKER_CPU, "a process can use one core")
    return limit.check("worker CPU", cpu, "a worker used {} of a core", format_percent, _CLIENT_LIMIT)


def _loop_lag(samples: dict[str, Floats], typical: float) -> Check:
    lag = _high(samples["loop_lag"])
    if lag is None:
        return Check("event-loop lag", None, "the load generator's event-loop lag was not sampled: not checked")
    limit = Limit.widest(
        Limit(LOOP_LAG, "what a busy machine's scheduler costs"),
        Limit(LOOP_LAG_SHARE * typical, f"{format_percent(LOOP_LAG_SHARE)} of the median latency"),
    )
    text = "timers of the load generator fired up to {} late"
    return limit.check("event-loop lag", lag, text, format_seconds, _HELD_UP)


def _users(run: Run, users: UsersPresent | None) -> list[Check]:
    """In closed loop the users are the load: one that was changed is no load that the figures could belong to."""
    arrivals = run.manifest.arrivals
    if users is None or run.manifest.open_loop:
        return []
    if users.constant and users.most == run.manifest.workload.users:
        return [Check("users", True, f"{users} all the time")]
    text = f"{users} sent while it measured, where {arrivals} says {pluralize(run.manifest.workload.users, 'user')}"
    return [Check("users", False, f"{text}: the figures belong to no one number of users; leave them as they are")]


def _little(run: Run, measured: Measured, samples: dict[str, Floats], users: UsersPresent | None) -> Check:
    """N = X (R + Z). In closed loop N is the users; in open loop N is what the workers counted each second."""
    went = ~np.isnan(measured.sent) & (measured.done <= measured.ends)
    rate = float(went.sum()) / measured.seconds
    arrivals = parse_arrivals(run.manifest.arrivals) if not run.manifest.open_loop else None
    # A gauge read once a second cannot tell 0.1 in flight from 0.2.
    limits = [Limit(0.5, "half a request")]
    if isinstance(arrivals, ClosedLoop):
        present = users.mean if users is not None else float(arrivals.users)
        start, think = measured.due, arrivals.think
    else:
        in_flight = _total_in_flight(samples)
        if in_flight.size < LITTLE_MIN_SAMPLES:
            return Check("N = X·R", None, "requests in flight were sampled too seldom: N = X·R not checked")
        present, start, think = float(in_flight.mean()), measured.sent, 0.0
        slack = 3 * float(in_flight.std(ddof=1)) / in_flight.size**0.5
        limits.append(Limit(slack, f"three standard errors of {pluralize(in_flight.size, 'sample')} of N"))
    time = float((measured.done - start)[went].mean()) + think if went.any() else 0.0
    residual = little_residual(present, rate, time)
    if residual is None:
        return Check("N = X·R", True, "nothing was in flight")
    limit = Limit.widest(Limit(LITTLE_RESIDUAL * present, f"{format_percent(LITTLE_RESIDUAL)} of N"), *limits)
    text = f"N = X·R leaves {{}} of N = {format_number(present)} open"
    share = Limit(limit.value / present, limit.reason)
    return share.check("N = X·R", abs(residual), text, format_percent)


def _backlog(measured: Measured) -> Check:
    def open_at(moment: float) -> int:
        return int(((measured.due <= moment) & ~(measured.done <= moment) & ~np.isnan(measured.sent)).sum())

    moments = np.linspace(measured.begins, measured.begins + measured.seconds / 2, 20)
    early, late = float(np.mean([open_at(moment) for moment in moments])), open_at(measured.ends)
    limit = Limit.widest(
        Limit(BACKLOG_LEAST, "so many come and go by chance"),
        Limit(BACKLOG_FACTOR * early, f"{format_number(BACKLOG_FACTOR)} times the first half's"),
        Limit(BACKLOG_SHARE * measured.due.size, f"{format_percent(BACKLOG_SHARE)} of those due"),
    )
    text = f"open at the end: {{}}, in the first half {format_number(early)} on average"
    advice = ": the server falls behind this rate, so latency depends on the duration"
    return limit.check("backlog", float(late), text, format_number, advice)


def _steady_by_design(run: Run) -> bool:
    if run.manifest.open_loop and run.manifest.arrivals.startswith("trace:"):
        return False
    return isinstance(parse_arrivals(run.manifest.arrivals), ClosedLoop | Constant | Poisson)


def _stationary(latency: Floats) -> list[Check]:
    """Whether the level of log latency stays; the first part is judged by itself, as that may be warm-up."""
    logs = np.log(np.maximum(latency, 1e-9))
    halves = level_shift(logs)
    head = level_shift(logs, head=WARMUP_HEAD)
    if halves is None or head is None or halves.times < SHIFT_TIMES:
        return [Check("stationary", None, "too short against its own correlation to tell whether latency is steady")]
    tail = level_shift(logs[round(WARMUP_HEAD * logs.size) :])
    found = []
    for name, shift, span in (
        ("warm-up", head, "the first fifth of the run was {} than its last half"),
        ("stationary", tail, "after its first fifth the run's earlier half was {} than its later one"),
    ):
        change = shift.early - shift.late if shift is not None else 0.0
        moved = f"{format_percent(float(np.expm1(abs(change))))} {'slower' if change > 0 else 'faster'}"
        chance = shift.p if shift is not None else 1.0
        passed = abs(change) <= SHIFT or chance >= SHIFT_P
        # A start that is faster than what follows is no warm-up: something changed later.
        cause = "the warm-up was not over" if shift is head and change > 0 else "not stationary"
        reason = f"or what chance does in {format_percent(SHIFT_P)} of steady runs, here p = {format_number(chance)}"
        limit = float(np.expm1(SHIFT))
        text = f"{span.format(moved)} (limit {format_percent(limit)}, {reason})" + ("" if passed else f": {cause}")
        found.append(Check(name, passed, text, float(np.expm1(abs(change))), limit, reason))
    return found


def most_in_flight(measured: Measured) -> int:
    """Most requests sent and not done at once."""
    went = ~np.isnan(measured.sent)
    times = np.concatenate((measured.done[went], measured.sent[went]))
    steps = np.concatenate((np.full(went.sum(), -1), np.full(went.sum(), 1)))
    # Ends first among equal times: a user may send again at the moment it was answered.
    return int(np.cumsum(steps[np.argsort(times, kind="stable")]).max(initial=0))


def _measured_samples(run: Run, measured: Measured) -> dict[str, Floats]:
    samples = run.client_samples()
    # A sample tells of the second before it.
    inside = (samples["time"] > measured.begins + 0.5) & (samples["time"] <= measured.ends + 0.5)
    return {name: values[inside] for name, values in samples.items()}


def _high(values: Floats) -> float | None:
    """What nine in ten of the known values do not exceed."""
    known = values[~np.isnan(values)]
    return nearest_rank(known, [0.9])[0] if known.size else None


def _total_in_flight(samples: dict[str, Floats]) -> Floats:
    """Requests in flight over all workers, one value for each second in which every worker was sampled."""
    known = ~np.isnan(samples["in_flight"])
    if not known.any():
        return np.empty(0)
    workers = np.unique(samples["worker"][known])
    seconds = np.floor(samples["time"][known] + 0.5).astype(np.int64)
    totals = np.bincount(seconds, samples["in_flight"][known])
    return np.asarray(totals[np.bincount(seconds) == workers.size])
