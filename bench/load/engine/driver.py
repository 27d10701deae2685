"""The engine of one process: a run's requests, the check of their answers, their records, and the users' connections.

Locust's processes, the runner and the gate share it.
"""

from math import inf

from bench.bert.contract.golden import Golden
from bench.bert.contract.golden_checker import GoldenChecker
from bench.load.engine.checker import Checker
from bench.load.engine.dispatcher import Dispatcher, Handling, Limits, Listener
from bench.load.engine.jobs import Jobs
from bench.load.engine.pacer import Pacer
from bench.load.engine.payloads import build_payloads, request_sentences
from bench.load.engine.recorder import Recorder
from bench.load.transports.balanced_pool import BalancedPool
from bench.load.transports.pool import Transport, TransportPool
from bench.results.blocks import RecordBuffer
from bench.results.failures import FailureTexts
from bench.workload.trace_context import TraceContexts
from bench.workload.workload import Workload


class Driver:
    """Sends a workload's requests, checks the answers, and buffers the records until `take`.

    Args:
        golden: golden answers of the served model.
        workload: what is sent.
        transports: creates the users' transports.
        listener: called for each request after it was recorded.
        worker: index of the load-generating process.

    Attributes:
        workload: what is sent.
        payloads: its requests, one for each first sentence.
        failures: the texts of the errors of failed requests.

    Raises:
        UsageError: the workload does not fit the golden answers.
    """

    def __init__(
        self,
        golden: Golden,
        workload: Workload,
        transports: TransportPool | BalancedPool,
        listener: Listener,
        worker: int = 0,
    ) -> None:
        self.workload = workload
        self.payloads = build_payloads(golden, workload, workload.protocols)
        self._checker = Checker(
            GoldenChecker(golden, request_sentences(golden, workload.sentences), workload.signature)
        )
        self._records = RecordBuffer(worker)
        self._recorder = self._make_recorder(inf)
        self.failures = FailureTexts()
        self._transports = transports
        self._listener = listener

    def _make_recorder(self, begins: float) -> Recorder:
        workload = self.workload
        return Recorder(self._records, self.payloads, workload.protocols, workload.signature, begins)

    def measure_from(self, begins: float) -> None:
        """Marks requests due before `begins`, in seconds since the run began, as warm-up; until then all are."""
        self._recorder = self._make_recorder(begins)

    def reconnect(self, transports: TransportPool | BalancedPool) -> None:
        """Creates users' transports from another pool; the owners of earlier ones close them."""
        self._transports.close()
        self._transports = transports

    def user_transports(self) -> dict[str, Transport]:
        """The transports of one more user, by protocol; the caller closes them."""
        return {protocol: self._transports.make(protocol) for protocol in self.workload.protocols}

    def dispatcher(self, jobs: Jobs, limits: Limits, pacer: Pacer, traces: TraceContexts | None = None) -> Dispatcher:
        """A dispatcher for `jobs`.

        Args:
            jobs: the requests to send.
            limits: when it ends.
            pacer: waits for due times.
            traces: the requests' trace contexts; None for none.
        """
        protocols = self.workload.protocols
        handling = Handling(
            self.payloads,
            protocols,
            self._checker,
            self._recorder,
            self._listener,
            self._transports.redacted,
            traces,
            self.failures,
        )
        return Dispatcher(jobs, handling, limits, pacer)

    def take(self) -> bytes:
        """The records since the last call, as one block; b"" without records."""
        return self._recorder.take()

    def close(self) -> None:
        """Closes what the users' transports share."""
        self._transports.close()
