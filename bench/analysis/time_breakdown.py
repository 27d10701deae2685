"""Where the time of a request goes: the mean latency from due, divided by what client and server measured.

Serving times a request's runtime around its session (RunPredict in servables/tensorflow/predict_util.cc), and its
request time around all of its own work. The batching session is inside both, so that the wait for a batch is part of
the runtime, and the runtime of the request time.
"""

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
    exceed each other, as other models' batches are counted in the same queueing delay, they are not divided.

    Returns:
        [] where the server reported no time of its own.
    """
    due, send, server = (_center(summary, name) for name in ("from_due_mean", "from_send_mean", "server_request"))
    if due is None or send is None or server is None or server > send:
        return []
    parts = [TimePart("client: due, not yet sent", due - send, "latency from due less latency from send")]
    outside = TimePart("network, client's and server's stack, unexplained", send - server, "latency less the server's")
    queue, runtime = (_center(summary, name) for name in ("server_queue", "server_runtime"))
    if runtime is None or not (queue or 0.0) <= runtime <= server:
        return [*parts, TimePart("server: request", server, "the server's counters"), outside]
    if queue is not None:
        parts.append(TimePart("server: waiting for a batch", queue, "the server's counters"))
    source = "the server's counters" if queue is None else "the server's runtime less the wait for a batch"
    parts.append(TimePart("server: model execution", runtime - (queue or 0.0), source))
    rest = TimePart(
        "server: decoding, encoding and the rest", server - runtime, "the server's request less its runtime"
    )
    return [*parts, rest, outside]


def _center(summary: RunSummary, name: str) -> float | None:
    found = summary.metrics.get(name)
    return None if found is None else found.center
