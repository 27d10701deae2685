"""What differs between the job of a sweep and that of the command which continues it, in the words of the options."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bench.capacity.experiment.experiment_design import QUICK
from bench.core.units import format_seconds
from bench.objectives.grammar import fraction_text

_NAMES: Final = {
    "model": "--model-dir",
    "server_flags": "--server-flag",
    "sentences": "--sentences-per-request",
    "timeout": "--request-timeout",
    "headers": "--header",
    "ca": "--ca-cert",
    "cert": "--client-cert",
    "key": "--client-key",
}
"""Options of other names than the field."""
_NESTED: Final = ("request", "tls")
_SECONDS: Final = ("timeout",)
_SHARES: Final = ("check_share",)


def changed_options(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the options of a sweep were where they are others now: `--step-time was 6s`, `--padded was not given`.

    Args:
        was: the job of the sweep, see `bench.capacity.experiment.sweep_spec.SweepSpec.job`.
        now: that of the command.
    """
    return list(dict.fromkeys(_changes(was, now)))


def _changes(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    # Another scale has other lengths and numbers of users too.
    rescaled = was.get("knee") != now.get("knee")
    for name in sorted(was.keys() | now.keys()):
        before, after = was.get(name), now.get(name)
        if before == after or (rescaled and name in ("ladder", "seconds")):
            continue
        if name in _NESTED:
            yield from _changes(before or {}, after or {})
        elif name == "knee":
            yield f"--quick was {'' if before == list(QUICK.knee) else 'not '}given"
        elif name == "ladder":
            yield f"--max-users was {max(before or [0]):,}"
        elif name == "seconds":
            yield from _lengths(before or [], after or [])
        elif name == "model":
            yield f"{_NAMES[name]} was another export"
        else:
            yield f"{_NAMES.get(name) or '--' + name.replace('_', '-')} was {_shown(name, before)}"


def _lengths(before: Sequence[float], after: Sequence[float]) -> Iterator[str]:
    """Lengths of the step of one user, which follows from that of the others, of the others, and of open-loop runs."""
    for name, which in (("--step-time", slice(0, 2)), ("--knee-time", slice(2, 3))):
        if (length := before[which]) != after[which]:
            yield f"{name} was {_duration(length[-1]) if length else 'another'}"


def _shown(name: str, value: Any) -> str:
    """A value as a user gives it."""
    if value in (None, [], "", False):
        return "not given"
    if value is True:
        return "given"
    if name in _SECONDS:
        return _duration(value)
    if name in _SHARES:
        return fraction_text(value)
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _duration(seconds: float) -> str:
    """`6s`, `3m20s`."""
    return format_seconds(seconds).replace(" ", "")
