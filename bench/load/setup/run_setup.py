"""The set-up of a run: its model, its server and its schedule, from its spec."""

import math
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from bench.bert.contract.golden import GoldenFile, read_golden
from bench.bert.demo.demo_model import demo_model_dir
from bench.core.atomic_files import make_folder
from bench.core.errors import UsageError
from bench.core.redaction import redacted_command
from bench.core.units import pluralize
from bench.load.engine.jobs import ScheduleShard, partition_schedule
from bench.load.engine.payloads import Payload, build_payloads
from bench.load.engine.worker_plan import WorkerPlan
from bench.load.monitor.gpu import Gpu, gpu_names
from bench.load.monitor.sampling import ServerSampler
from bench.load.selftest.self_test import stored_ceiling
from bench.load.setup.run_context import option_name
from bench.load.setup.run_endpoint import endpoint_of
from bench.load.setup.run_spec import RunSpec
from bench.load.setup.target_session import TargetSession
from bench.results.environment import Environment, this_environment
from bench.results.manifest import Origin, RunManifest, describe
from bench.results.run_folder import RunWriter
from bench.server.running import RunningServer
from bench.workload.arrivals import Arrivals, ClosedLoop, Constant, OpenLoop, Poisson
from bench.workload.workload import Workload


@dataclass(frozen=True)
class RunSetup:
    """Everything that a run needs before its first request.

    Args:
        spec: the run.
        model_dir: the export with the golden answers.
        file: its golden file.
        workload: what is sent.
        server: the server under load.
        payloads: the requests, one for each first sentence.
        environment: the load-generating machine.
        gpu: the GPU that the server computes on; None if it uses none, or none of this machine.
    """

    spec: RunSpec
    model_dir: Path
    file: GoldenFile
    workload: Workload
    server: RunningServer
    payloads: list[Payload]
    environment: Environment
    gpu: Gpu | None

    @classmethod
    def make(cls, spec: RunSpec, target: TargetSession) -> "RunSetup":
        """Reads the model's golden answers, then starts or probes the server.

        Raises:
            UsageError: options contradict each other, or there are no golden answers, or no place for the run folder.
            TargetError: the server does not start, does not answer, or does not serve the model.
            WrongAnswerError: a remote server holds another model.
        """
        make_folder(spec.results, "", f"give another {option_name('--results', spec.command)}")
        model_dir = spec.model_dir or demo_model_dir()
        file = read_golden(model_dir)
        workload = spec.workload(file)
        payloads = build_payloads(file.golden, workload, workload.protocols)
        if isinstance(spec.arrivals, OpenLoop):
            # Drawn here too, so that a schedule with no requests, or too many, is refused before a server starts.
            spec.arrivals.due_times(workload.duration, workload.seed)
        server = target.open(spec, model_dir, file.golden)
        environment = this_environment(gpu_names())
        return cls(spec, model_dir, file, workload, server, payloads, environment, Gpu.of(server))

    def plans(self, workers: int, run: str) -> list[WorkerPlan]:
        """The plan of each process."""
        arrivals, workload = self.spec.arrivals, self.workload
        shards: tuple[ScheduleShard | None, ...] = (None,) * workers
        begins, ends = workload.warmup, workload.warmup + workload.duration
        if isinstance(arrivals, OpenLoop):
            _, shards = partition_schedule(arrivals, workload, len(self.payloads), workers)
        think = arrivals.think if isinstance(arrivals, ClosedLoop) else None
        endpoint = endpoint_of(self.spec, self.server, self.payloads)
        return [
            WorkerPlan(
                run,
                worker,
                self.file.data,
                workload,
                endpoint,
                shard,
                think,
                begins,
                ends,
                self.spec.trace_share,
                users=math.ceil(self.spec.users / workers),
            )
            for worker, shard in enumerate(shards)
        ]

    def manifest(self, plans: list[WorkerPlan], started: datetime, users: int) -> RunManifest:
        """The run's manifest.

        Args:
            plans: those of the processes.
            started: when its clock is 0, UTC.
            users: number of users that send its requests; other user classes of Locust may have some of the requested.

        Raises:
            UsageError: there are none, or the arrivals name another number.
        """
        arrivals, notes = self._arrivals_of(users)
        spec = self.spec
        scheduled = [len(plan.shard.due) // 8 for plan in plans if plan.shard]
        ceiling = stored_ceiling(self.workload.clients)
        origin = Origin(
            target=spec.target_name or str(spec.target),
            environment=self.environment,
            workers=len(plans),
            started=started.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            server={"backend": self.server.backend, "flags": list(spec.server_flags)},
            group=spec.group,
            repeat=spec.repeat,
            headers=spec.target.access.headers.names,
            command=redacted_command(spec.command or sys.argv),
            ceiling=ceiling * len(plans) if ceiling else None,
            traces=plans[0].traces,
            warnings=notes,
            objectives=spec.objectives,
            until=spec.until,
        )
        return describe(replace(self.workload, users=users), arrivals, origin, sum(scheduled) if scheduled else None)

    def sampler(self) -> ServerSampler:
        """Samples the server once a second."""
        return ServerSampler(self.server, self.gpu)

    def writer(self, manifest: RunManifest) -> RunWriter:
        """The run's folder, with the manifest that `manifest` gave.

        Raises:
            OSError: it cannot be created.
        """
        texts = [entry.sentence.text for entry in self.file.golden.sentences]
        return RunWriter.create(
            self.spec.results,
            manifest.workload.scenario,
            manifest,
            sync_every=None,
            sentences=texts,
            find_warmup=self.spec.find_warmup and isinstance(self.spec.arrivals, ClosedLoop | Constant | Poisson),
        )

    def _arrivals_of(self, users: int) -> tuple[Arrivals, tuple[str, ...]]:
        """The arrivals with the actual number of users, and a note if it is not the requested one."""
        arrivals, requested = self.spec.arrivals, self.spec.users
        if users == requested:
            return arrivals, ()
        found = (
            f"{pluralize(users, 'user')} available, {requested:,} requested: "
            "other user classes have some, or a load shape sets their number"
        )
        if not users:
            raise UsageError(f"{found}; give more users")
        if isinstance(arrivals, ClosedLoop):
            if self.spec.users_named:
                option = option_name("--users", self.spec.command)
                raise UsageError(f"{arrivals} is impossible: {found}; give --arrivals closed, or the right {option}")
            arrivals = replace(arrivals, users=users)
        return arrivals, (found,)
