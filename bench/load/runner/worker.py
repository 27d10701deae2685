"""The runner process: runs one after the other on running servers, without a start of Locust for each.

It sends, records and checks with the same session and collector as a Locust process. It ends at the end of its standard
input; a run in progress is then stored as stopped early.
"""

import gc
import os
import random
import signal
import sys
from dataclasses import replace
from types import FrameType
from typing import Any, Final
from uuid import uuid4

import gevent
import gevent.select
from gevent.queue import Queue

from bench.core.errors import exit_code_of, one_line
from bench.load.engine.collector import Callbacks, Collector, start_times
from bench.load.engine.descriptors import make_room
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.engine.worker_session import WorkerSession, start_message
from bench.load.runner.protocol import Reply
from bench.load.setup.refusals import REFUSALS, refusal
from bench.load.setup.run_setup import RunSetup
from bench.load.setup.run_spec import RunSpec
from bench.load.setup.storing import load_storing
from bench.load.setup.target_session import TargetSession
from bench.load.transports.balanced_pool import BalancedPool
from bench.load.transports.pool import TransportPool
from bench.workload.balancing import make_policy

_LEAD_SECONDS: Final = 0.3


def _write_reply(reply: Reply) -> bool:
    """Writes `reply`; False if the reader has gone."""
    try:
        sys.stdout.buffer.write(reply.to_line())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Discards the rest of the buffer, which Python would complain about at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


class RunnerWorker:
    """Does runs, one after the other."""

    def __init__(self) -> None:
        self._target = TargetSession()
        self._session: WorkerSession | None = None
        self._collector: Collector | None = None
        self._stopping = False

    def serve(self) -> None:
        """Reads run specs, does the runs, replies; returns when the input ends."""
        # Ctrl-C may reach this process too; the process that started it ends it in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._on_signal)
        lines: Any = Queue()
        reader = gevent.spawn(self._read, lines)
        while not self._stopping and (line := lines.get()):
            reply = self._reply(line)
            if not _write_reply(reply):
                break
            # The objects of a run are not collected while the next one sends.
            gc.collect()
            gc.freeze()
        reader.kill(block=False)
        self._target.close()

    def _read(self, lines: Any) -> None:
        """Puts each line of standard input into `lines`, and an empty one at its end."""
        data = b""
        while True:
            gevent.select.select([0], [], [])
            more = os.read(0, 1 << 16)
            if not more:
                break
            *whole, data = (data + more).split(b"\n")
            for line in whole:
                lines.put(line)
        self._stop()
        lines.put(b"")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        if self._collector is not None and self._session is not None:
            self._collector.stop()
            self._session.stop()

    def _reply(self, line: bytes) -> Reply:
        try:
            return self._run(RunSpec.from_json(line))
        except REFUSALS as error:
            refused = refusal(error)
            return Reply(error=one_line(refused), code=int(exit_code_of(refused)))

    def _run(self, spec: RunSpec) -> Reply:
        load_storing("bench.results.parquet")
        setup = RunSetup.make(spec, self._target)
        plan = setup.plans(1, uuid4().hex)[0]
        make_room(plan.users, plan.connections * max(len(spec.servers), 1))
        sampler = setup.sampler()
        epoch, started = start_times(_LEAD_SECONDS)
        manifest = setup.manifest([plan], started, spec.users)
        self._collector = collector = Collector(
            setup.writer(manifest), epoch, [plan], setup.payloads, sampler, Callbacks(lambda: {0}, lambda: None)
        )
        self._session = session = WorkerSession(plan, collector.report, lambda *_: None, balanced_pool(spec, plan))
        users = [gevent.spawn(session.drive) for _ in range(spec.users)]
        # Each creates its transports before the clock starts.
        gevent.sleep(0)
        session.begin(start_message(plan.run, epoch))
        gevent.joinall(users, raise_error=True)
        session.close()
        self._session = self._collector = None
        return Reply(folder=str(collector.finish()), error="stopped" if self._stopping else "")


def balanced_pool(spec: RunSpec, plan: WorkerPlan) -> BalancedPool | None:
    """The pool for several servers; None for one, whose endpoint the plan has."""
    if len(spec.servers) < 2:
        return None
    endpoint = plan.endpoint
    pools = [
        TransportPool(
            replace(
                endpoint,
                rest=server.rest if endpoint.rest else None,
                grpc=server.grpc if endpoint.grpc else None,
                access=server.access,
                grpc_secure=server.secure,
            ),
            plan.workload.clients,
        )
        for server in spec.servers
    ]
    return BalancedPool(pools, make_policy(spec.policy, random.Random(spec.seed)))
