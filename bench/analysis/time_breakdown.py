"""Where the time of a request goes: the mean latency from due, divided by what client and server measured."""

from dataclasses import dataclass

from bench.analysis.summary import RunSummary


@dataclass(frozen=True, slots=True)
class TimePart:
    """One part of the mean latency.

    Args:
        name: what happens in it.
        seconds: its mean.
        source: what measured it.
    """

    name: str
    seconds: float
    source: str


def time_breakdown(summary: RunSummary) -> list[TimePart]:
    """The parts of the mean latency from due, in the order in which a request meets them.

    They sum to `from_due_mean`. A part that is the difference of two means is named so; where the server's own parts
    exceed its request time, because a batch's time counts once for all its requests, they are not divided.

    Returns:
        [] where the server reported no time of its own.
    """
    due, send, server = (_center(summary, name) for name in ("from_due_mean", "from_send_mean", "server_request"))
    if due is None or send is None or server is None or server > send:
        return []
    parts = [TimePart("client: due, not yet sent", due - send, "latency from due less latency from send")]
    outside = TimePart("network, client's and server's stack, unexplained", send - server, "latency less the server's")
    queue, runtime = (_center(summary, name) for name in ("server_queue", "server_runtime"))
    if runtime is None or (queue or 0.0) + runtime > server:
        return [*parts, TimePart("server: request", server, "the server's counters"), outside]
    if queue is not None:
        parts.append(TimePart("server: waiting for a batch", queue, "the server's counters"))
    parts.append(TimePart("server: model execution", runtime, "the server's counters"))
    rest = server - runtime - (queue or 0.0)
    return [*parts, TimePart("server: decoding, encoding and the rest", rest, "the server's counters"), outside]


def _center(summary: RunSummary, name: str) -> float | None:
    found = summary.metrics.get(name)
    return None if found is None else found.center
