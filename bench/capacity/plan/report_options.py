"""The options of a report, which `sweep.json` keeps, so that a report made again is about the same."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.capacity.plan.plan import PlanOptions
from bench.capacity.plan.planned import PlanRequest
from bench.capacity.plan.slo import Slo
from bench.objectives.grammar import fraction_text


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a report is about.

    Args:
        slo: text of the objective.
        plan: the rates to plan for; None for no plan.
        seed: random seed of the fit.
        servers: requests that the server works on at once, as the fit took them; None if unknown.

    Raises:
        UsageError: a malformed objective.
    """

    slo: str
    plan: PlanRequest | None = None
    seed: int = 0
    servers: int | None = None

    def __post_init__(self) -> None:
        Slo.parse(self.slo)


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """Options of a report made again.

    Args:
        slo: the objective; None for the stored one.
        plan: the rates to plan for, with all options of the plan; None for the stored plan.
        without_plan: whether the stored plan is left out.
    """

    slo: Slo | None = None
    plan: PlanRequest | None = None
    without_plan: bool = False

    def over(self, stored: ReportOptions) -> ReportOptions:
        """The stored options with the given ones in their place."""
        slo = stored.slo if self.slo is None else str(self.slo)
        return replace(stored, slo=slo, plan=self.plan or (None if self.without_plan else stored.plan))


def changed_report(was: ReportOptions, now: ReportOptions) -> tuple[str, ...]:
    """A line that names the options of a report that another one replaces, where they are others now; () if none is."""
    changes = list(_changes(was, now))
    return (f"this report replaces one of other options ({', '.join(changes)})",) if changes else ()


def _changes(was: ReportOptions, now: ReportOptions) -> Iterator[str]:
    before, after = _texts(was), _texts(now)
    for name, text in before.items():
        if text != after[name]:
            yield f"{name} was {text or 'not given'}"
    days = [() if options.plan is None else options.plan.spans for options in (was, now)]
    if days[0] != days[1]:
        yield f"--diurnal was {'another day' if all(days) else 'given' if days[0] else 'not given'}"


def _texts(options: ReportOptions) -> dict[str, str]:
    """The options as a user gives them, "" for one that is not given; without a plan those of one are the defaults."""
    plan = options.plan
    of_plan = PlanOptions() if plan is None else plan.options
    rate = None if plan is None else plan.rate
    return {
        "--slo": options.slo,
        "--seed": str(options.seed),
        "--servers": f"{options.servers or ''}",
        "--plan": "" if rate is None else f"rate={rate:.12g}/s",
        "--redundancy": str(of_plan.redundancy),
        "--headroom": fraction_text(of_plan.headroom),
        "--price": "" if of_plan.price is None else f"{of_plan.price:.12g}",
        "--policy": of_plan.policy,
    }
