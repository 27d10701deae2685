"""A run about to begin: its model, its server and its schedule, put together from the settings."""

import sys
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from bench.bert.demo_model import demo_model_dir
from bench.bert.golden import Golden, read_golden
from bench.errors import UsageError
from bench.load.calibration import stored_ceiling
from bench.load.endpoint import Endpoint
from bench.load.jobs import Share, share_out
from bench.load.options import Settings
from bench.load.payloads import Payload, build_payloads
from bench.load.plan import WorkerPlan
from bench.load.sampling import Gpu
from bench.load.told import Told, option_name, told
from bench.load.under_test import ServerUnderTest
from bench.results.arrivals import Arrivals, ClosedLoop, OpenLoop
from bench.results.atomic import make_folder
from bench.results.environment import Environment, this_environment
from bench.results.header import RunHeader, describe
from bench.results.workload import Workload
from bench.server.running import RunningServer
from bench.serving.rest import predict_path
from bench.serving.types import PredictRequest
from bench.units import counted, were


@dataclass(frozen=True)
class PreparedRun:
    """All that is known before the first request.

    Args:
        settings: the options.
        model_dir: the export whose answers are checked.
        golden_bytes: its golden file.
        golden: the same, read.
        workload: what is sent.
        server: what is driven.
        payloads: the requests, one for each first sentence.
        environment: the machine that load comes from.
    """

    settings: Settings
    model_dir: Path
    golden_bytes: bytes
    golden: Golden
    workload: Workload
    server: RunningServer
    payloads: list[Payload]
    environment: Environment

    @classmethod
    def make(cls, settings: Settings, under_test: ServerUnderTest, gpu: Gpu | None) -> "PreparedRun":
        """Reads the model's golden answers, then starts or finds the server.

        Raises:
            UsageError: options that do not go together, no golden answers, or no place for the run folder.
            TargetError: the server does not come up, does not answer, or does not serve the model.
        """
        make_folder(settings.results, "", f"give another {option_name('--results')}")
        model_dir = settings.model_dir or demo_model_dir()
        golden, golden_bytes = read_golden(model_dir)
        workload = _workload(settings, golden, golden_bytes)
        payloads = build_payloads(golden, workload, workload.protocols)
        if isinstance(settings.arrivals, OpenLoop):
            # Draws it once, so that one without a request, or with too many, is refused before a server starts.
            settings.arrivals.due_times(workload.duration, workload.seed)
        server = under_test.open(settings, model_dir)
        environment = this_environment((gpu.name,) if gpu else ())
        return cls(settings, model_dir, golden_bytes, golden, workload, server, payloads, environment)

    def plans(self, workers: int, run: str) -> list[WorkerPlan]:
        """What each process is told."""
        arrivals, workload = self.settings.arrivals, self.workload
        shares: tuple[Share | None, ...] = (None,) * workers
        begins, ends = workload.warmup, workload.warmup + workload.duration
        if isinstance(arrivals, OpenLoop):
            _, shares = share_out(arrivals, workload, len(self.payloads), workers)
        think = arrivals.think if isinstance(arrivals, ClosedLoop) else None
        endpoint = self._endpoint()
        return [
            WorkerPlan(run, worker, self.golden_bytes, workload, endpoint, share, think, begins, ends)
            for worker, share in enumerate(shares)
        ]

    def header(self, plans: list[WorkerPlan], started: datetime, users: int) -> RunHeader:
        """The run's header.

        Args:
            plans: what the processes were told.
            started: when its clock is 0, UTC.
            users: how many send its requests now; Locust may have shared the asked ones with other user classes.

        Raises:
            UsageError: nobody sends, or the arrivals name another number of users.
        """
        arrivals, notes = self._arrivals_of(users)
        by_runner = told() or Told(str(self.settings.target), flags=tuple(self.settings.server_flags))
        scheduled = [len(plan.share.due) // 8 for plan in plans if plan.share]
        ceiling = stored_ceiling(self.workload.clients)
        return describe(
            replace(self.workload, users=users),
            arrivals,
            target=by_runner.target,
            environment=self.environment,
            workers=len(plans),
            started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            scheduled=sum(scheduled) if scheduled else None,
            server={"backend": self.server.backend, "flags": list(by_runner.flags)},
            group=by_runner.group,
            repeat=by_runner.repeat,
            command=by_runner.command or tuple(sys.argv),
            ceiling=ceiling * len(plans) if ceiling else None,
            warnings=notes,
        )

    def _arrivals_of(self, users: int) -> tuple[Arrivals, tuple[str, ...]]:
        """The arrivals with the users that there are, and what there is to say of it."""
        arrivals, asked = self.settings.arrivals, self.settings.users
        if users == asked:
            return arrivals, ()
        asks = (
            f"where {counted(asked, 'user')} {were(asked)} asked: other user classes share them, or a shape sets them"
        )
        found = f"{counted(users, 'user')} would send {asks}"
        if not users:
            raise UsageError(f"{found}; give more users")
        if isinstance(arrivals, ClosedLoop):
            if self.settings.users_named:
                raise UsageError(
                    f"{arrivals} cannot be kept: {found}; give --arrivals closed, or the right {option_name('--users')}"
                )
            arrivals = replace(arrivals, users=users)
        return arrivals, (found.replace("would send", "began to send"),)

    def _endpoint(self) -> Endpoint:
        settings, server = self.settings, self.server
        protocols = self.workload.protocols
        request = PredictRequest({}, settings.signature, settings.model_name)
        return Endpoint(
            rest=server.rest if "rest" in protocols else None,
            grpc=server.grpc if "grpc" in protocols else None,
            path=predict_path(request),
            headers=settings.headers,
            tls=settings.tls,
            grpc_secure=(settings.grpc or settings.target).secure,
            compressed=settings.compressed,
            channels=settings.channels,
            max_response=settings.max_response,
        )


def _workload(settings: Settings, golden: Golden, golden_bytes: bytes) -> Workload:
    return Workload(
        protocol=settings.scenario.protocol,
        transport=settings.transport,
        signature=settings.signature,
        sentences=settings.sentences,
        model_name=settings.model_name,
        model_digest=golden.checkpoint_digest,
        sentences_digest="sha256:" + sha256(golden_bytes).hexdigest(),
        precision=golden.precision,
        padded=settings.padded or golden.fixed is not None,
        check_share=settings.check_share,
        timeout=settings.timeout,
        users=settings.users,
        duration=settings.run_time - settings.warmup,
        warmup=settings.warmup,
        drain=settings.drain,
        seed=settings.seed,
        channels=settings.channels,
        compressed=settings.compressed,
        tls=settings.target.secure,
        scenario=settings.scenario.name,
    )
