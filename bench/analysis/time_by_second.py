"""Where the time of requests goes, second by second: the mean latency from due, divided by what both sides measured.

The server's counters are sampled each second, so a second is the time between two samples. Requests belong to the
second in which they were done. Serving times a request's runtime around its session, so that the wait for a batch is
part of it (RunPredict in servables/tensorflow/predict_util.cc); here it is taken out.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.analysis.measured import Measured
from bench.core.types import Floats
from bench.results.run_reader import Run
from bench.results.samples import counter_growth

LEAST_REQUESTS: Final = 5
"""Fewest successful requests of a second that is divided."""
WIRE_PERCENTILE: Final = 5.0
"""The time outside the server in the quietest seconds is taken as that of the wire and both network stacks."""


@dataclass(frozen=True)
class TimeBySecond:
    """Means over the successful requests done in each second, seconds, float64 `[K]`; NaN where not known.

    `client + wire + queue + runtime + serialisation + unexplained` is `latency`, where all are known.

    Args:
        time: end of each second, seconds since the run began.
        requests: successful requests done in it.
        latency: from due.
        client: waiting in the client, from due to send.
        wire: network and both stacks: what the quietest seconds of the run take outside the server.
        queue: waiting for a batch; 0 where the server does not batch.
        runtime: model execution.
        serialisation: the rest of the server's own time: decoding, encoding, hand-overs.
        unexplained: what is left: more time outside the server than in the quietest seconds, which neither side
            measures: a busy network, a busy machine, or the server's accept queue. Negative where the server counted
            more time than the client, as it counts a request in the second in which it ends it.
    """

    time: Floats
    requests: Floats
    latency: Floats
    client: Floats
    wire: Floats
    queue: Floats
    runtime: Floats
    serialisation: Floats
    unexplained: Floats

    @property
    def known(self) -> bool:
        """Whether any second is divided."""
        return bool(np.isfinite(self.unexplained).any())


def time_by_second(run: Run, measured: Measured) -> TimeBySecond:
    """Divides the time of a run's requests.

    Args:
        run: the stored run; without the server's page all parts but `client` are NaN.
        measured: its records.
    """
    samples = run.server_samples()
    edges = samples["time"]
    ok = measured.ok
    order = np.argsort(measured.done[ok], kind="stable")
    due, sent, done = (values[ok][order] for values in (measured.due, measured.sent, measured.done))
    index = np.searchsorted(done, edges, side="right")
    requests = np.diff(index).astype(np.float64)
    enough = requests >= LEAST_REQUESTS

    def mean(values: Floats) -> Floats:
        sums = np.diff(np.concatenate(([0.0], np.cumsum(values)))[index])
        return np.where(enough, sums / np.maximum(requests, 1.0), math.nan)

    growth = {name: counter_growth(samples, name) for name in samples if name.endswith(("_count", "_seconds"))}
    served = np.nan_to_num(growth["rest_count"]) + np.nan_to_num(growth["grpc_count"])
    served = np.where(served >= LEAST_REQUESTS, served, math.nan)
    inside = (np.nan_to_num(growth["rest_seconds"]) + np.nan_to_num(growth["grpc_seconds"])) / served
    runtime = growth["runtime_seconds"] / served
    # The parts of a split request wait at the same time. A wait counts when it ends, a runtime when the batch does.
    waits = np.maximum(np.nan_to_num(growth["queue_count"]), served)
    queue = np.minimum(np.nan_to_num(growth["queue_seconds"]) / waits, runtime)
    outside = mean(done - sent) - inside
    known = outside[np.isfinite(outside)]
    least = max(float(np.percentile(known, WIRE_PERCENTILE)), 0.0) if known.size else math.nan
    wire = np.where(np.isfinite(outside), least, math.nan)
    return TimeBySecond(
        time=edges[1:],
        requests=requests,
        latency=mean(done - due),
        client=mean(sent - due),
        wire=wire,
        queue=queue,
        runtime=runtime - queue,
        serialisation=inside - runtime,
        unexplained=outside - wire,
    )
