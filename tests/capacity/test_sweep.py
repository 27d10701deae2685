"""A whole sweep of a known server, its failures, and its continuation."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from bench import api
from bench.bert.contract.golden import read_golden
from bench.capacity.experiment.assemble import sweep_warnings
from bench.capacity.experiment.experiment_design import FULL, QUICK, Step
from bench.capacity.experiment.sweep import Sweep, SweepResult
from bench.capacity.experiment.sweep_folder import SweepFolder
from bench.capacity.experiment.sweep_listener import SweepListener
from bench.capacity.experiment.sweep_spec import request_of
from bench.capacity.measurements.measured_step import MeasuredStep, Stage
from bench.capacity.model.model_file import StoredModel, read_model, write_model
from bench.capacity.model.validation import VALIDATION_STAGES, median_error, validate
from bench.capacity.plan.planned import PlanRequest, make_plan
from bench.capacity.plan.result import CapacityResult
from bench.capacity.plan.slo import Slo
from bench.capacity.report import plots
from bench.capacity.report.html_page import capacity_html, latency_chart
from bench.capacity.report.json_report import capacity_document
from bench.capacity.report.markdown_report import capacity_markdown, capacity_view
from bench.capacity.report.text_report import capacity_lines
from bench.core.atomic_files import sole_use
from bench.core.errors import BenchError, ExitCode, InconclusiveError, TargetError, UsageError, WrongAnswerError
from bench.core.units import format_estimate, format_number, format_rate
from bench.load.setup.run_spec import RunSpec
from bench.results.records import Outcome
from bench.serving.access import Access
from bench.serving.headers import Headers
from bench.serving.target import parse_target
from bench.serving.tls import TlsOptions
from bench.stats.estimate import Estimate
from bench.workload.due_times import ClosedLoop
from tests.support.browser import open_browser, opened, serious_faults
from tests.support.known_sweeps import FIT, SLO, SMALL, KnownDriver, KnownServer, sweep_of
from tests.support.toy_golden import toy_golden, write_model_dir

pytestmark = pytest.mark.long(50)


class Lines(SweepListener):
    """Collects the lines of a sweep."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepFolder, SweepResult, KnownDriver]:
    driver = KnownDriver(KnownServer(2, 0.01, 0.5, seed=1))
    sweep = sweep_of(tmp_path_factory.mktemp("sweep") / "s", driver)
    fleet = KnownDriver(KnownServer(4, 0.01, 0.5, seed=2))
    return sweep.folder, sweep.run(replicas=2, policy="least-loaded", fleet=fleet), driver


def test_all_parts_are_run_in_order(swept: tuple[SweepFolder, SweepResult, KnownDriver]) -> None:
    _, result, _ = swept
    stages = [m.stage for m in result.measurements]
    assert sorted(stages, key=list(Stage).index) == stages
    assert set(stages) == set(Stage)
    assert result.saturated == pytest.approx(200.0, rel=0.05)


def test_the_sustained_rate_has_an_interval_around_the_truth(
    swept: tuple[SweepFolder, SweepResult, KnownDriver],
) -> None:
    _, result, _ = swept
    rate = result.sustained.rate
    assert result.sustained.attainable
    assert rate.lo is not None
    assert rate.hi is not None
    assert rate.center is not None
    assert 100 < rate.lo <= rate.center <= rate.hi < 200
    assert result.sustained.highest_passed is not None


def test_the_model_is_validated_on_runs_outside_the_fit(swept: tuple[SweepFolder, SweepResult, KnownDriver]) -> None:
    _, result, _ = swept
    runs = [entry for entry in result.steps if entry.measurement.stage in (Stage.HOLD_OUT, Stage.CONFIRM)]
    validation = result.validated.validation
    assert len(validation) == 3 * len(runs)
    middle = median_error(validation)
    assert middle is not None
    assert middle < 0.25
    assert sum(value.inside for value in validation) >= 0.6 * len(validation)


def test_failed_validation_widens_all_intervals(
    swept: tuple[SweepFolder, SweepResult, KnownDriver],
) -> None:
    _, result, _ = swept
    correct = replace(result.model, widening=1.0)
    off = replace(correct, center=1.6 * correct.center, replicates=1.6 * correct.replicates)
    off = replace(
        off,
        parameter_set=replace(
            off.parameter_set, queue_model=replace(off.parameter_set.queue_model, speed_factor=1 / 1.6)
        ),
    )
    passed, failed = (validate(model, result.steps) for model in (correct, off))
    assert passed == result.validated
    assert passed.model.widening == result.model.widening == 1.0 < 1.5 < failed.model.widening
    assert sum(value.inside for value in failed.validation) < 0.5 * len(failed.validation)
    before, after = (
        replace(off, widening=width).predict(150.0).latency["p95"] for width in (1.0, failed.model.widening)
    )
    assert before.lo is not None
    assert before.hi is not None
    assert after.lo is not None
    assert after.hi is not None
    assert after.center == before.center
    assert after.lo < before.lo
    assert after.hi > before.hi
    narrow, wide = off.largest_rate({"p95": 0.04}), failed.model.largest_rate({"p95": 0.04})
    assert wide.center == narrow.center
    assert (wide.lo or 0.0) < (narrow.lo or 0.0)
    assert (failed.model.capacity.lo or 0.0) < (off.capacity.lo or 0.0)
    slow = replace(off, parameter_set=replace(off.parameter_set, work=1.6 * off.parameter_set.work))
    assert validate(slow, result.steps).sustained
    assert not failed.sustained
    # A stored model that is already widened is not widened twice.
    assert validate(failed.model, result.steps) == failed


def test_an_invalid_run_is_left_out_of_the_validation_by_name(
    swept: tuple[SweepFolder, SweepResult, KnownDriver], tmp_path: Path
) -> None:
    """What a starved load generator measured is no error of the model."""
    _, result, _ = swept

    def spoilt(step: MeasuredStep) -> MeasuredStep:
        raw = {name: 9 * value for name, value in step.measurement.raw.items()}
        return replace(step, measurement=replace(step.measurement, raw=raw, reasons=("sent 80 ms late",)))

    tests = [step for step in result.steps if step.measurement.stage in VALIDATION_STAGES]
    steps = [spoilt(step) if step is tests[0] else step for step in result.steps]
    found, run = validate(result.model, steps), tests[0].measurement
    rest = tuple(point for point in result.validated.validation if point.run != run.run)
    assert (found.validation, len(rest)) == (rest, 3 * (len(tests) - 1))
    assert found.model.widening == result.model.widening
    left_out = f"hold-out {run.load} ({run.run}): INVALID (sent 80 ms late)"
    assert list(map(str, found.left_out)) == [left_out]
    assert f"left out of the validation: {left_out}" in sweep_warnings(steps, found)
    shown = replace(report_of(replace(result, validated=found)), left_out=found.left_out)
    assert f"inside the 90 % interval; left out: hold-out {run.load} ({run.run})" in "\n".join(capacity_lines(shown))
    assert capacity_document(shown, Path("report")).hold_out.left_out == found.left_out

    found = validate(result.model, [spoilt(step) if step in tests[1:] else step for step in result.steps])
    assert {point.run for point in found.validation} == {run.run}
    assert plots.validation(report_of(replace(result, validated=found)), tmp_path / "one.png")

    found = validate(result.model, [spoilt(step) if step in tests else step for step in result.steps])
    assert (found.validation, found.sustained, found.model.widening) == ((), (), 1.0)
    assert len(found.left_out) == len(tests)
    shown = replace(report_of(replace(result, validated=found)), left_out=found.left_out)
    (line,) = (line for line in capacity_lines(shown) if "validation" in line)
    assert line.startswith(f"  validation of the model: not tested, as no run for it counts: {left_out}; ")
    assert f"Not tested, as no run for it counts: {left_out}" in capacity_markdown(capacity_view(shown, []))
    assert capacity_document(shown, Path("report")).hold_out.median_error is None


def test_replicas_are_predicted_and_measured(swept: tuple[SweepFolder, SweepResult, KnownDriver]) -> None:
    """Two replicas of two servers behind a balancer that knows all queues are nearly one of four servers."""
    _, result, _ = swept
    found = result.replicas
    assert found is not None
    assert found.predicted.center is not None
    assert found.predicted.center == pytest.approx(2 * (result.sustained.rate.center or 0), rel=0.15)
    assert found.measured is None or abs(found.error or 0) < 0.2


@pytest.mark.parametrize(("servers", "low", "high"), [(2, 0.4, 0.7), (6, 1.3, 2.0)])
def test_replicas_far_from_the_prediction_are_measured(
    swept: tuple[SweepFolder, SweepResult, KnownDriver], servers: int, low: float, high: float, tmp_path: Path
) -> None:
    """With fewer or more servers than the model has, further runs enclose the sustained rate."""
    _, _, driver = swept
    sweep = sweep_of(tmp_path / "s", KnownDriver(driver.server))
    found = sweep.run(replicas=2, policy="least-loaded", fleet=KnownDriver(KnownServer(servers, 0.01, 0.5, seed=3)))
    assert found.replicas is not None
    assert found.replicas.measured is not None
    assert found.replicas.predicted.center is not None
    assert low < found.replicas.measured / found.replicas.predicted.center < high


def test_replicas_are_not_run_at_a_rate_that_gives_a_run_too_few_requests(
    swept: tuple[SweepFolder, SweepResult, KnownDriver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may then have none at all, which is no failure of the target."""
    folder, _, driver = swept
    predicted = Estimate("replicas_slo_rate", 0.2, 0.1, 0.3, 0.9, 100)
    monkeypatch.setattr("bench.capacity.experiment.sweep.predict_replicas", lambda *_: predicted)
    fleet = KnownDriver(driver.server)
    found = Sweep(SweepFolder.open(folder.path), driver, SMALL, SLO, fit=FIT).run(2, "least-loaded", fleet)
    assert fleet.asked == []
    assert found.replicas is not None
    assert found.replicas.measured is None
    assert found.replicas.note == "a run would have too few requests; measure longer with --knee-time"


def test_little_s_law_is_checked_at_each_step(swept: tuple[SweepFolder, SweepResult, KnownDriver]) -> None:
    _, result, _ = swept
    assert all(m.little is not None and abs(m.little) < 0.1 for m in result.measurements)


def test_a_complete_sweep_makes_no_run(swept: tuple[SweepFolder, SweepResult, KnownDriver]) -> None:
    folder, result, driver = swept
    before = len(driver.asked)
    again = Sweep(SweepFolder.open(folder.path), driver, SMALL, SLO, fit=FIT)
    found = again.run()
    assert len(driver.asked) == before
    assert found.model.parameter_set.capacity == result.model.parameter_set.capacity


def test_a_model_is_stored_and_read(swept: tuple[SweepFolder, SweepResult, KnownDriver], tmp_path: Path) -> None:
    _, result, _ = swept
    write_model(tmp_path, StoredModel("two servers", {"target": "known"}, str(SLO), result.model, result.measurements))
    stored = read_model(tmp_path)
    assert stored.measurements == tuple(result.measurements)
    assert stored.label == "two servers"
    assert api.read_sweep(tmp_path).measurements == stored.measurements
    np.testing.assert_allclose(stored.model.center, result.model.center)
    before, after = result.model.largest_rate({"p99": 0.06}), stored.model.largest_rate({"p99": 0.06})
    assert after == before
    (tmp_path / "model.json").write_text('{"format": 99}')
    with pytest.raises(UsageError, match="update bertbench"):
        read_model(tmp_path)
    (tmp_path / "model.json").write_text('{"format": 1}')
    with pytest.raises(UsageError, match="fit again"):
        read_model(tmp_path)
    with pytest.raises(UsageError, match="holds no fitted model.* --resume"):
        read_model(tmp_path / "nothing")


def test_a_server_that_dies_ends_the_sweep_and_a_resumed_one_continues(tmp_path: Path) -> None:
    driver = KnownDriver(KnownServer(seed=3), dies_at="ladder 4 users #0")
    with pytest.raises(TargetError, match=r"stopped answering at 4 users.*--resume") as caught:
        sweep_of(tmp_path / "s", driver).run()
    assert caught.value.exit_code is ExitCode.TARGET_FAILED
    assert "\n" not in str(caught.value)
    assert driver.asked == ["ladder 1 users #0", "ladder 2 users #0", "ladder 4 users #0", "ladder 4 users #0"]
    assert len(list((tmp_path / "s" / "runs").iterdir())) == 4
    driver.dies_at = ""
    sweep_of(tmp_path / "s", driver, resume=True).run()
    assert driver.asked[4] == "ladder 4 users #0"
    assert driver.asked.count("ladder 1 users #0") == 1


def test_a_server_that_is_silent_once_is_asked_again(tmp_path: Path) -> None:
    driver = KnownDriver(KnownServer(seed=3), dies_at="ladder 4 users #0", silences=1)
    listener = Lines()
    result = replace(sweep_of(tmp_path / "s", driver), listener=listener).run()
    assert driver.asked.count("ladder 4 users #0") == 2
    assert [line for line in listener.lines if "repeating" in line] == [
        "  repeating: no request due at the end was successful"
    ]
    assert not any(step.measurement.outcomes.get(Outcome.UNAVAILABLE) for step in result.steps)


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (Outcome.TIMEOUT, TargetError),
        (Outcome.REJECTED, TargetError),
        (Outcome.INVALID_RESPONSE, TargetError),
        (Outcome.WRONG_ANSWER, WrongAnswerError),
    ],
)
def test_a_step_in_which_the_server_hangs_or_breaks_is_not_recorded(
    tmp_path: Path, outcome: Outcome, error: type[BenchError]
) -> None:
    """Half of its throughput would be in the fit, also of a sweep that is resumed."""
    step = "ladder 4 users #0"
    driver = KnownDriver(KnownServer(seed=3), dies_at=step, dies_with=outcome, stays_dead=True)
    with pytest.raises(error, match=r" at 4 users .*--resume continues"):
        sweep_of(tmp_path / "s", driver).run()
    assert driver.asked.count(step) == 2
    assert driver.asked[-1] == step
    assert step not in SweepFolder.open(tmp_path / "s").steps
    driver.dies_at = ""
    result = sweep_of(tmp_path / "s", driver, resume=True).run()
    assert driver.asked.count(step) == 3
    assert all(entry.measurement.alive for entry in result.steps)


def test_a_load_that_ends_in_timeouts_again_is_recorded(tmp_path: Path) -> None:
    """A backlog beyond the timeout is no server that hangs, which would answer nothing when it is asked again."""

    class Interrupted(KnownDriver):
        def run(self, step: Step, users: int, runs: Path) -> Path:
            if step.stage is not Stage.LADDER:
                raise KeyboardInterrupt
            return super().run(step, users, runs)

    overloaded = "ladder 4 users #0"
    driver, listener = Interrupted(KnownServer(seed=3), dies_at=overloaded, dies_with=Outcome.TIMEOUT), Lines()
    with pytest.raises(KeyboardInterrupt):
        replace(sweep_of(tmp_path / "s", driver), listener=listener).run()
    assert driver.asked.count(overloaded) == 2
    assert overloaded in SweepFolder.open(tmp_path / "s").steps
    assert [line for line in listener.lines if "repeating" in line or "kept" in line] == [
        "  repeating: no request due at the end was successful",
        "  kept: it ended so again after answers: the load is more than the target serves",
    ]


def test_a_server_that_is_gone_when_the_step_is_repeated(tmp_path: Path) -> None:
    class Gone(KnownDriver):
        def run(self, step: Step, users: int, runs: Path) -> Path:
            if self.asked.count(self.dies_at):
                raise TargetError("grpc://h:1 does not answer: nothing listens at h:1")
            return super().run(step, users, runs)

    driver = Gone(KnownServer(seed=3), dies_at="ladder 4 users #0")
    with pytest.raises(TargetError, match=r"stopped answering at 4 users \(grpc://h:1 does not.*--resume continues"):
        sweep_of(tmp_path / "s", driver).run()


@pytest.mark.parametrize(("cv", "runs"), [(0.2, 1), (1.5, 3)])
def test_the_step_of_one_user_is_repeated_until_service_times_are_known(cv: float, runs: int, tmp_path: Path) -> None:
    """Waiting grows with the mean square of the service times, which depends on a few long ones."""
    driver = KnownDriver(KnownServer(cv=cv, seed=8))
    sweep = replace(sweep_of(tmp_path / "s", driver), scale=replace(SMALL, single_user_runs=3))
    listener = Lines()
    result = replace(sweep, listener=listener).run()
    single = [f"ladder 1 users #{repeat}" for repeat in range(runs)]
    assert [key for key in driver.asked if " 1 users" in key] == single == driver.asked[:runs]
    assert sum("service times vary widely" in line for line in listener.lines) == runs - 1
    assert [entry.latencies.latency.size for entry in result.steps][runs - 1] > 0


def test_a_server_too_slow_for_the_open_loop_runs_is_inconclusive(tmp_path: Path) -> None:
    """Instead of a run without a request, which is no fault of who called the command."""
    driver = KnownDriver(KnownServer(servers=1, mean=0.1, seed=4))
    sweep = sweep_of(tmp_path / "s", driver)
    with pytest.raises(InconclusiveError, match=r"sustains .*/s: an open-loop run would have .* with --knee-time"):
        replace(sweep, scale=replace(sweep.scale, knee_seconds=0.5)).run()
    assert all("ladder" in key for key in driver.asked)


def test_a_load_generator_at_its_limit_is_inconclusive(tmp_path: Path) -> None:
    driver = KnownDriver(KnownServer(seed=4), client_cpu=0.97)
    with pytest.raises(InconclusiveError, match=r"load generator was the limit at 1 user \(0\.97 cores"):
        sweep_of(tmp_path / "s", driver).run()
    assert len(list((tmp_path / "s" / "runs").iterdir())) == 1


def test_wrong_answers_violate_an_objective_at_any_rate(tmp_path: Path) -> None:
    result = sweep_of(tmp_path / "s", KnownDriver(KnownServer(seed=5), wrong=0.01)).run()
    assert not result.sustained.attainable
    assert "of the answers are wrong" in result.sustained.reason
    assert Stage.CONFIRM not in {m.stage for m in result.measurements}


@pytest.mark.parametrize(
    ("outcome", "error", "text"),
    [
        (Outcome.WRONG_ANSWER, WrongAnswerError, "every answer .* --model-dir"),
        (Outcome.REJECTED, TargetError, r"no request .* successful \([\d,]+ rejected\); .* --model-dir"),
        (Outcome.TIMEOUT, TargetError, r"no request .* successful \([\d,]+ timeout\); check the target: "),
    ],
)
def test_nothing_but_failures_ends_the_sweep(
    tmp_path: Path, outcome: Outcome, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        sweep_of(tmp_path / "s", KnownDriver(KnownServer(seed=6), wrong=1.0, wrong_outcome=outcome)).run()


def test_an_unattainable_objective_still_gives_the_model(tmp_path: Path) -> None:
    result = sweep_of(tmp_path / "s", KnownDriver(KnownServer(seed=7)), Slo.parse("p99=2ms")).run()
    assert not result.sustained.attainable
    # The text names the model as the source, and gives the measurement beside it.
    assert re.fullmatch(
        r"by the model p99 is [\d.]+ ms at the lowest rate, over the limit of 2 ms; measured with 1 user: [\d.]+ ms",
        result.sustained.reason,
    )
    assert result.model.predict(50.0).latency["p99"].center


@pytest.mark.parametrize(
    ("protocol", "given", "client"),
    [("rest", {}, "fast"), ("rest", {"transport": "requests"}, "requests"), ("grpc", {}, "grpcio")],
)
def test_a_sweep_of_format_1_continues_with_its_transport(
    protocol: str, given: dict[str, str], client: str, tmp_path: Path
) -> None:
    old = {"format": 1, "job": {"protocol": protocol, "options": given}, "done": {}}
    (tmp_path / "sweep.json").write_bytes(orjson.dumps(old))
    job = {"protocol": protocol, "transport": client, "request": {}}
    assert SweepFolder.create(tmp_path, job, resume=True).job == job


def test_resume_without_a_sweep_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="holds no sweep to continue; leave out --resume"):
            SweepFolder.create(path, {"slo": "p99=1s"}, resume=True)
    assert not list(tmp_path.iterdir())


def test_a_sweep_of_format_2_continues_with_its_requests(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    options = {
        "signature": "serving_default",
        "sentences_per_request": "4",
        "request_timeout": "30s",
        "check_share": "50%",
        "headers": "X-Team: search",
        "ca_cert": str(tmp_path / "ca.pem"),
        "compressed": "on",
    }
    old = {"format": 2, "job": {"protocol": "rest", "transport": "fast", "options": options, "quick": True}, "done": {}}
    (tmp_path / "sweep.json").write_bytes(orjson.dumps(old))
    headers = Headers([("X-Team", "search")])
    spec = RunSpec(
        scenario="capacity",
        protocol="rest",
        arrivals=ClosedLoop(1),
        users=1,
        duration=1.0,
        signature="serving_default",
        sentences=4,
        check_share=0.5,
        target=parse_target("https://localhost:8501", Access(headers, TlsOptions(ca=tmp_path / "ca.pem"))),
        compressed=True,
    )
    request = request_of(spec)
    assert request["headers"] == ["X-Team"], "names only"
    job = {"protocol": "rest", "transport": "fast", "request": request, "knee": list(QUICK.knee)}
    assert request.keys() == {"signature", "sentences", "check_share", "headers", "tls", "compressed"}
    assert SweepFolder.create(tmp_path, job, resume=True).job == job


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"format": 2}', b'{"format": 2, "job": 1, "done": 2}'])
def test_a_damaged_sweep_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "sweep.json").write_bytes(data)
    with pytest.raises(
        UsageError, match=r"is not (JSON|a sweep file of bertbench|a valid sweep file)\b.*; restore it, or give"
    ) as caught:
        SweepFolder.create(tmp_path, {"slo": "p99=1s"}, resume=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("was", "now", "text"),
    [
        ({"seconds": [15.0, 6.0, 10.0]}, {"seconds": [5.0, 2.0, 10.0]}, "--step-time was 6s"),
        ({"seconds": [15.0, 6.0, 10.0]}, {"seconds": [15.0, 6.0, 5.0]}, "--knee-time was 10s"),
        ({"ladder": [1, 2, 4]}, {"ladder": [1, 2, 4, 8]}, "--max-users was 4"),
        (
            {"knee": list(QUICK.knee), "ladder": [1], "seconds": [15.0, 6.0, 10.0]},
            {"knee": list(FULL.knee), "ladder": [2], "seconds": [60.0, 20.0, 30.0]},
            "--quick was given",
        ),
        (
            {"request": {"padded": True}},
            {"request": {"sentences": 4}},
            "--padded was given, --sentences-per-request was",
        ),
        ({"request": {"timeout": 5.0, "check_share": 0.5}}, {}, "--check-share was 50%, --request-timeout was 5s"),
        (
            {"request": {"tls": {"ca": "ca.pem"}, "headers": ["X-Team"]}},
            {},
            "--header was X-Team, --ca-cert was ca.pem",
        ),
        (
            {"label": None, "server_flags": ["--a", "--b"]},
            {"label": "x"},
            "--label was not given, --server-flag was --a",
        ),
        ({"model": "sha256:1"}, {"model": "sha256:2"}, "--model-dir was another export"),
        ({"cores_per_replica": 2}, {"cores_per_replica": None}, "--cores-per-replica was 2"),
    ],
)
def test_what_a_sweep_had_is_named_as_the_options(
    tmp_path: Path, was: dict[str, Any], now: dict[str, Any], text: str
) -> None:
    SweepFolder.create(tmp_path, was, resume=False)
    with pytest.raises(UsageError, match=re.escape(f"a sweep of other options ({text}")) as caught:
        SweepFolder.create(tmp_path, now, resume=True)
    assert "seconds" not in str(caught.value)
    assert "[" not in str(caught.value)


def test_a_sweep_that_goes_on_is_not_continued_by_another_process(tmp_path: Path) -> None:
    """Both would load the server at once, and each undo the other's record of the steps."""
    load = RunSpec(
        scenario="capacity",
        protocol="rest",
        arrivals=ClosedLoop(1),
        users=1,
        duration=1.0,
        target=parse_target("http://localhost:1"),
        model_dir=write_model_dir(tmp_path / "model", toy_golden(1)),
    )
    spec = api.SweepSpec(load=load, slo=api.Slo.parse("p99=1s"), out=tmp_path / "s", scale=api.QUICK, resume=True)
    assert load.model_dir is not None
    SweepFolder.create(spec.out, spec.job(read_golden(load.model_dir).golden), resume=False)
    with sole_use(spec.out), pytest.raises(UsageError, match="still at work"):
        api.sweep(spec)


def test_a_folder_with_another_sweep_is_refused(tmp_path: Path) -> None:
    SweepFolder.create(tmp_path, {"slo": "p99=1s"}, resume=False)
    with pytest.raises(UsageError, match="--resume"):
        SweepFolder.create(tmp_path, {"slo": "p99=1s"}, resume=False)
    with pytest.raises(UsageError, match="--slo was p99=1s"):
        SweepFolder.create(tmp_path, {"slo": "p99=2s"}, resume=True)
    assert SweepFolder.create(tmp_path, {"slo": "p99=1s"}, resume=True).steps == ()
    with pytest.raises(UsageError, match="holds no sweep"):
        SweepFolder.open(tmp_path / "nothing")


def report_of(result: SweepResult, sentences: int = 1) -> CapacityResult:
    return CapacityResult(
        "two servers", {"target": "known"}, SLO, result.measurements, result.saturated, None, result.model,
        result.sustained, result.validated.validation, result.replicas, None, sentences=sentences,
    )  # fmt: skip


def test_the_report_separates_measurement_and_model(
    swept: tuple[SweepFolder, SweepResult, KnownDriver],
) -> None:
    _, result, _ = swept
    first, saturated, checked, fleet, *_ = capacity_lines(report_of(result))
    rate = result.sustained.rate
    sustained = format_estimate(rate.center, rate.lo, rate.hi, format_rate)
    assert first.startswith(f"one server (two servers) sustains {sustained} within {SLO} by the model (measured: ")
    assert "/s met it" in first
    capacity = result.model.capacity
    modelled = format_estimate(capacity.center, capacity.lo, capacity.hi, format_rate)
    assert saturated == f"  saturated at {format_rate(result.saturated)}, measured; at {modelled} by the model"
    assert checked.startswith("  validation of the model: median error ")
    assert fleet.startswith("  2 replicas: predicted ")
    assert ", measured " in fleet or "not measured" in fleet


def test_a_rate_that_no_run_exceeded_is_the_least(swept: tuple[SweepFolder, SweepResult, KnownDriver]) -> None:
    _, result, _ = swept
    rate = replace(result.sustained.rate, center=232.0, lo=232.0, hi=None)
    line = next(capacity_lines(report_of(replace(result, sustained=replace(result.sustained, rate=rate)))))
    assert line.startswith(f"one server (two servers) sustains at least 232/s [232/s … —] within {SLO} by the model")


def test_the_model_covers_the_rates_that_were_requested(swept: tuple[SweepFolder, SweepResult, KnownDriver]) -> None:
    _, result, _ = swept
    single = [m for m in result.measurements if m.stage is not Stage.REPLICAS]
    requested = sorted(m.rate for m in single if m.rate is not None and m.stable)
    model = result.model
    assert model.valid == (model.rates[0], requested[-1])
    ends = [format_rate(rate) for rate in (*model.valid, requested[0], requested[-1])]
    covers = dict(capacity_view(report_of(result), [])["model"])["rates that it covers"]
    assert covers == "{} to {} (measured in open loop: {} to {})".format(*ends)
    (warning,) = model.largest_rate({"p99": 9.0}).warnings
    assert warning.startswith(f"within the limits up to {ends[3]}, the highest measured rate")
    runs = {m.run: m.rate for m in single}
    assert all(point.rate == runs[point.run] for point in result.validated.validation)


def test_the_page_draws_extrapolated_latencies_as_such(
    swept: tuple[SweepFolder, SweepResult, KnownDriver],
) -> None:
    _, result, _ = swept
    chart = latency_chart(report_of(result))
    highest = result.model.valid[1]
    for line in chart.series:
        shown = chart.x[np.isfinite(line.values)]
        if line.label.endswith("extrapolated"):
            assert (shown.min(), line.dash) == (highest, True)
        elif line.label.startswith("model"):
            assert shown.max() == highest
    assert sum(line.label.endswith("extrapolated") for line in chart.series) == 3
    # By these an entry of the legend hides dots with their lines.
    lines = {(line.group, line.color) for line in chart.series}
    assert chart.marks
    assert {(mark.group, mark.color) for mark in chart.marks} <= lines


def test_requests_of_several_sentences_are_reported_in_sentences(
    swept: tuple[SweepFolder, SweepResult, KnownDriver],
) -> None:
    _, result, _ = swept
    line = list(capacity_lines(report_of(result, 16)))[1]
    sustained, saturated = result.sustained.rate.center, result.saturated
    assert sustained is not None
    assert line == (
        f"  a request has 16 sentences, and rates count requests: {format_number(16 * sustained)} sentences/s "
        f"sustained, {format_number(16 * saturated)} sentences/s saturated"
    )
    assert line.strip()[1:] + "." in capacity_markdown(capacity_view(report_of(result, 16), []))
    assert "sentences/s" not in "".join(capacity_lines(report_of(result)))


def test_no_number_of_the_report_has_an_exponent_or_a_wrong_plural(
    swept: tuple[SweepFolder, SweepResult, KnownDriver],
) -> None:
    _, result, _ = swept
    text = "\n".join((*capacity_lines(report_of(result)), capacity_markdown(capacity_view(report_of(result), []))))
    assert not re.search(r"\d[eE][+-]?\d|\bnan\b|\binf\b|(?<!\d)1 (users|replicas|figures)\b", text)


def test_the_page_says_what_a_manager_asks(swept: tuple[SweepFolder, SweepResult, KnownDriver], tmp_path: Path) -> None:
    _, result, _ = swept
    request = PlanRequest(rate=500.0)
    planned = make_plan(result.model, result.sustained.rate, SLO, request)
    report = replace(report_of(result), planned=planned, label="<b>two servers</b>")
    path = tmp_path / "capacity.html"
    path.write_text(capacity_html(report, capacity_view(report, [])), encoding="utf-8")
    rate = result.sustained.rate
    sustained = format_estimate(rate.center, rate.lo, rate.hi, format_rate)
    with open_browser() as browser, opened(browser, path, width=390) as watched:
        summary = watched.page.locator("#summary").inner_text()
        assert f"One server sustains {sustained} within {SLO} by the model" in summary
        assert f"{planned.row.replicas}\n" in summary
        assert f"{planned.row.needed} for the rate and {planned.row.replicas - planned.row.needed} spare" in summary
        assert watched.page.locator("h1").inner_text() == "Capacity: <b>two servers</b>"
        assert watched.page.locator(".chart[data-drawn]").count() == 2
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert not serious_faults(watched.page)
        assert (watched.errors, watched.requests) == ([], [])
