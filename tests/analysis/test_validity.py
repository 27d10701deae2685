"""Each reason for which a run is INVALID, and none on a good one."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.bottleneck import Limit, bottleneck
from bench.analysis.measured import load
from bench.analysis.run import Analysis, analyse
from bench.analysis.start_delay import own_delays
from bench.analysis.users import users_present
from bench.core.units import format_percent
from bench.results.records import Outcome
from bench.serving.errors import Lack
from tests.support.synthetic_runs import WORKLOAD, Requests, Service, exponential, fixed, simulate, write_run

LONG = replace(WORKLOAD, duration=60.0)


@pytest.mark.parametrize(
    "arrivals", ["poisson:rate=50", "constant:rate=50", "closed:users=4", "closed:users=2,think=1s"]
)
def test_a_good_run_is_valid(tmp_path: Path, arrivals: str) -> None:
    found = analyse(write_run(tmp_path, simulate(arrivals, LONG), arrivals, LONG, workers=2))
    assert str(found.validity) == "VALID", [check.text for check in found.validity.checks]
    assert found.warnings == ()


def test_rates_that_change_by_design_are_not_called_unsteady(tmp_path: Path) -> None:
    arrivals = "ramp:from=5,to=80"
    found = analyse(write_run(tmp_path, simulate(arrivals, LONG), arrivals, LONG))
    assert found.validity.valid


def late(requests: Requests) -> None:
    requests.sent[:] += 0.02
    requests.done[:] += 0.02


def dropping(requests: Requests) -> None:
    for index in range(600, 620):
        requests.outcome[index] = Outcome.DROPPED
        requests.sent[index] = requests.done[index] = math.nan


def failing(requests: Requests) -> None:
    requests.outcome[:] = [Outcome.UNAVAILABLE] * requests.due.size


def drifting(requests: Requests) -> None:
    requests.done[:] += 0.08 * requests.due / requests.due[-1]


def still_warming(requests: Requests) -> None:
    requests.done[:] += np.where(requests.due < 12, 0.05, 0.0)


@pytest.mark.parametrize(
    ("spoil", "client", "reason"),
    [
        (late, {}, "after they were due"),
        (late, {"cpu": 0.99}, "the client was the limit"),
        (dropping, {}, "20 of"),
        (failing, {}, "none of the"),
        (drifting, {}, "more than chance (p <0.000001): the run was not steady"),
        (still_warming, {}, "the warm-up was too short"),
        (None, {"cpu": 0.97}, "a worker used 97 % of a core"),
        (None, {"loop_lag": 0.5}, "event-loop lag of the load generator up to 500 ms"),
        (None, {"in_flight": 9.0}, "N = X·R is off by"),
    ],
)
def test_each_fault_is_named(
    tmp_path: Path, spoil: Callable[[Requests], None] | None, client: dict[str, float], reason: str
) -> None:
    requests = simulate(workload=LONG)
    if spoil is not None:
        spoil(requests)
    found = analyse(write_run(tmp_path, requests, workload=LONG, client=client))
    assert not found.validity.valid
    assert any(reason in text for text in found.validity.reasons), found.validity.reasons
    assert "\n" not in str(found.validity)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("cpu", "1.0", "a worker used 100 % of a core"),
        ("loop_lag", "0.4", "event-loop lag of the load generator up to"),
    ],
)
def test_one_worker_of_many_that_is_at_its_limit_is_seen(tmp_path: Path, column: str, value: str, reason: str) -> None:
    """A twelfth of the requests come from it, and a twelfth of the samples."""
    run = write_run(tmp_path, simulate(workload=LONG), workload=LONG, workers=12)
    path = run.path / "client-metrics.csv"
    names, *lines = (line.split(",") for line in path.read_text().splitlines())
    for cells in lines:
        if cells[names.index("worker")] == "3":
            cells[names.index(column)] = value
    path.write_text("".join(",".join(cells) + "\n" for cells in (names, *lines)))
    (found,) = analyse(run).validity.reasons
    assert found.startswith(reason)


def test_what_the_load_generator_lacked_is_not_the_server_s_failure(tmp_path: Path) -> None:
    lacks = {Lack.FILES: 55, Lack.PORTS: 1}
    run = write_run(tmp_path, simulate(workload=LONG), workload=LONG, lacks=lacks)
    assert run.file.lacks == lacks
    (reason,) = analyse(run).validity.reasons
    assert reason == (
        "not the server but the load generator was the limit: 55 requests failed for lack of open files: raise the "
        "limit (ulimit -n), or give fewer users; 1 request failed for lack of local ports or addresses: give fewer "
        "users, more ports (net.ipv4.ip_local_port_range) or another address"
    )


@pytest.mark.parametrize(
    ("client", "ceiling", "reason"),
    [
        ({}, None, "all 100 users were waiting"),
        ({"cpu": 0.99}, None, "the client was the limit"),
        ({}, 10.0, "the client was the limit"),
    ],
)
def test_a_full_pool_of_users_is_told_from_a_slow_client(
    tmp_path: Path, client: dict[str, float], ceiling: float | None, reason: str
) -> None:
    requests = simulate(workload=LONG)
    stall(requests)
    workload = replace(LONG, users=100)
    found = analyse(write_run(tmp_path, requests, workload=workload, client=client, ceiling=ceiling))
    delays = [check.text for check in found.validity.checks if check.name == "start delay"]
    assert reason in delays[0]


def stall(requests: Requests) -> None:
    """100 requests, sent when they are due, are answered only 1 ms after the next 100 were due, which wait for that."""
    requests.sent[1100:1200] = requests.done[1000:1100] = requests.due[1200] + 0.001
    requests.done[1100:1200] = requests.sent[1100:1200] + 0.01


def test_requests_sent_late_at_once_are_the_load_generator_s_doing(tmp_path: Path) -> None:
    """All 100 users have a request in flight then, but were free when the requests were due."""
    requests = simulate(workload=LONG)
    requests.sent[1000:1100] = requests.due[1100] + 0.001
    requests.done[1000:1100] = requests.sent[1000:1100] + 0.01
    validity = analyse(write_run(tmp_path, requests, workload=replace(LONG, users=100))).validity
    assert "starved of CPU" in next(check.text for check in validity.checks if check.name == "start delay")
    assert not validity.shows_server


@pytest.mark.parametrize(
    ("client", "cure"),
    [
        ({"loop_lag": 0.5}, "give it a core of its own"),
        ({"cpu": 0.99}, "add workers or lower the rate"),
    ],
)
def test_one_cure_of_several_reasons_stands_once(client: dict[str, float], cure: str, tmp_path: Path) -> None:
    """After the last reason that it is for; each reason has its cause."""
    requests = simulate(workload=LONG)
    late(requests)
    validity = analyse(write_run(tmp_path, requests, workload=LONG, client=client)).validity
    assert sum(cure in check.text for check in validity.checks) == 2
    assert [reason.endswith(f"; {cure}") for reason in validity.reasons if ": the " in reason] == [False, True]
    assert str(validity).count(cure) == 1


def pool(rate: float, users: int) -> Requests:
    """A server that takes 10 ms a request, and a pool of users that each wait for their response."""
    requests = simulate(f"poisson:rate={rate}", LONG, fixed(0.01))
    for index in range(users, requests.due.size):
        requests.sent[index] = max(requests.sent[index], requests.done[index - users])
    return requests


@pytest.mark.parametrize(
    ("rate", "users", "spoil", "client", "overloaded"),
    [
        (130.0, 64, None, {}, True),
        (130.0, 100_000, None, {}, True),
        (130.0, 64, None, {"cpu": 0.95}, False),
        (130.0, 64, None, {"loop_lag": 10.0}, False),
        (50.0, 64, None, {}, False),
        (50.0, 64, late, {}, False),
        (50.0, 64, still_warming, {}, False),
    ],
)
def test_a_server_that_falls_behind_is_told_from_what_distorts_a_run(
    tmp_path: Path,
    rate: float,
    users: int,
    spoil: Callable[[Requests], None] | None,
    client: dict[str, float],
    overloaded: bool,
) -> None:
    requests = pool(rate, users)
    if spoil is not None:
        spoil(requests)
    workload = replace(LONG, users=users)
    found = analyse(write_run(tmp_path, requests, f"poisson:rate={rate}", workload, client=client)).validity
    assert (found.overloaded, found.shows_server) == (overloaded, overloaded or found.valid), found.reasons


def test_own_delays_by_hand() -> None:
    """Two users: the third request, due at 0.2, waits for the first answer at 1.0; the fourth is late by 0.5."""
    due = np.array([0.0, 0.1, 0.2, 3.0, 4.0])
    sent = np.array([0.0, 0.3, 1.1, 3.5, np.nan])
    done = np.array([1.0, 2.0, 2.5, 3.6, np.nan])
    np.testing.assert_allclose(own_delays(due, sent, done, users=2), [0.0, 0.2, 0.1, 0.5])


def test_more_than_the_server_takes_is_a_growing_backlog(tmp_path: Path) -> None:
    arrivals = "poisson:rate=130"
    found = analyse(write_run(tmp_path, simulate(arrivals, LONG), arrivals, LONG))
    assert any("the server falls behind" in text for text in found.validity.reasons)


@pytest.mark.parametrize(
    ("rate", "missing", "passed"), [(1, 1, True), (1, 2, False), (4, 2, True), (4, 3, False), (0.1, 1, True)]
)
def test_a_request_at_the_edge_is_no_other_rate(tmp_path: Path, rate: float, missing: int, passed: bool) -> None:
    """Due 4 ms before the end and sent after it: one of a few requests, or a hundredth of many."""
    requests = simulate(f"constant:rate={rate}", LONG)
    requests.due[-missing:] = 62.0 - 0.004
    requests.sent[-missing:] = 62.0005
    requests.done[-missing:] = 62.01
    (check,) = [
        check
        for check in analyse(write_run(tmp_path, requests, f"constant:rate={rate}", LONG)).validity.checks
        if check.name == "achieved rate"
    ]
    assert check.passed == passed, check.text


@pytest.mark.parametrize(
    ("rate", "service", "servers", "kept_up"),
    [
        # The server fell behind in the warm-up, 13 s and 90 s of work.
        (21, fixed(0.05), 1, False),
        (26, fixed(0.05), 1, False),
        # As many in flight as ever: latency is long, and the warm-up was longer.
        (20, fixed(55.0), 5_000, True),
        (20, exponential(20.0), 5_000, True),
        (18, fixed(0.05), 1, True),
    ],
)
def test_a_long_warm_up_is_part_of_a_backlog(
    tmp_path: Path, rate: float, service: Service, servers: int, kept_up: bool
) -> None:
    workload = replace(LONG, warmup=300.0, users=10**5)
    requests = simulate(f"poisson:rate={rate}", workload, service, servers)
    found = analyse(write_run(tmp_path, requests, f"poisson:rate={rate}", workload)).validity
    assert any("the server falls behind" in reason for reason in found.reasons) != kept_up
    assert not kept_up or not any("N = X·R" in reason for reason in found.reasons), found.reasons


def test_samples_of_a_constant_rate_see_the_same_part_of_each_second(tmp_path: Path) -> None:
    """1.93 requests in flight on average, and 1 at each whole second."""
    requests = simulate("constant:rate=50", LONG, fixed(0.0385), servers=10)
    found = analyse(write_run(tmp_path, requests, "constant:rate=50", LONG))
    (check,) = [check for check in found.validity.checks if check.name == "N = X·R"]
    assert "of N = 1, " in check.text
    assert check.value == pytest.approx(0.0, abs=0.01)
    # A gauge that does not agree with the records is off all the same.
    wrong = write_run(tmp_path, requests, "constant:rate=50", LONG, client={"in_flight": 3.0})
    (check,) = [check for check in analyse(wrong).validity.checks if check.name == "N = X·R"]
    assert not check.passed


def test_users_that_leave_at_a_stop_are_no_residual(tmp_path: Path) -> None:
    arrivals = "closed:users=4"
    run = write_run(
        tmp_path,
        simulate(arrivals, LONG),
        arrivals,
        replace(LONG, users=4),
        users=lambda time, _: min(4, 4 * (5.1 - time)),
    )
    stopped = replace(run, file=replace(run.file, interrupted=True, elapsed=4.1))
    checks = {check.name: check for check in analyse(stopped).validity.checks}
    assert (checks["N = X·R"].passed, checks["users"].text) == (True, "4 users throughout")


@pytest.mark.parametrize(
    ("arrivals", "passed"),
    [
        # A server of 40/s has 20 requests open as each burst ends, and none 0.5 s later.
        ("burst:base=2,peak=60,every=5s,length=1s,spacing=even", True),
        ("burst:base=2,peak=60,every=20s,length=1s,spacing=even", True),
        ("burst:base=35,peak=90,every=5s,length=1s,spacing=even", False),
    ],
)
def test_a_run_that_ends_with_a_burst_is_not_overloaded(tmp_path: Path, arrivals: str, passed: bool) -> None:
    run = write_run(tmp_path, simulate(arrivals, service=fixed(0.05), servers=2), arrivals)
    (check,) = [check for check in analyse(run).validity.checks if check.name == "backlog"]
    assert check.passed is passed
    assert "requests open at the least in the last " in check.text


def test_a_rate_that_the_client_did_not_reach(tmp_path: Path) -> None:
    """Users so few that the schedule slips to twice its length."""
    requests = simulate("constant:rate=50", LONG)
    requests.sent[:] = 2 * requests.due
    requests.done[:] = requests.sent + 0.01
    found = analyse(write_run(tmp_path, requests, "constant:rate=50", LONG))
    assert any("of the 50 requests/s due were sent in time" in text for text in found.validity.reasons)
    # As throughput has the answers of the warm-up's last requests, this has their sending.
    rates = found.summary.metrics["sent_rate"], found.summary.metrics["throughput"]
    assert [rate.center for rate in rates] == pytest.approx([25.0, 25.0], rel=0.01)


def test_closed_loop_users_that_wait_for_the_client(tmp_path: Path) -> None:
    """Users spend half their time neither waiting for an answer nor thinking: the client is the limit."""
    arrivals = "closed:users=4"
    requests = simulate("closed:users=4,think=40ms", LONG, service=exponential(0.01))
    found = analyse(write_run(tmp_path, requests, arrivals, LONG))
    assert any("N = X·R is off by" in text for text in found.validity.reasons)


@pytest.mark.parametrize(
    ("arrivals", "warmup"),
    [("closed:users=8", 0.0), ("closed:users=8", 2.0), ("closed:users=8,think=6s", 2.0), ("constant:rate=20", 2.0)],
)
def test_requests_under_way_at_the_ends_of_a_run_are_the_server_s_time(
    tmp_path: Path, arrivals: str, warmup: float
) -> None:
    """Each takes a fifth of the measured part, and so many are under way as it begins and as it ends."""
    workload = replace(WORKLOAD, users=8 if arrivals.startswith("closed") else 500, warmup=warmup)
    found = analyse(write_run(tmp_path, simulate(arrivals, workload, fixed(4.0), servers=500), arrivals, workload))
    (check,) = [check for check in found.validity.checks if check.name == "N = X·R"]
    assert check.value is not None
    assert check.value < 0.02
    assert found.validity.valid, found.validity.reasons
    assert bottleneck(found).limit is (Limit.RATE if found.run.manifest.open_loop else Limit.USERS)


def test_the_pause_after_a_refusal_is_not_the_client_s_time(tmp_path: Path) -> None:
    """Half of the users' time passes in the 0.1 s that follow an `unavailable` request."""
    requests = simulate("closed:users=4,think=100ms", LONG, service=fixed(0.1))
    requests.outcome[:-1] = [Outcome.UNAVAILABLE] * (requests.due.size - 1)
    checks = {
        check.name: check for check in analyse(write_run(tmp_path, requests, "closed:users=4", LONG)).validity.checks
    }
    assert checks["N = X·R"].passed
    requests.outcome[:] = [Outcome.REJECTED] * requests.due.size
    checks = {
        check.name: check for check in analyse(write_run(tmp_path, requests, "closed:users=4", LONG)).validity.checks
    }
    assert not checks["N = X·R"].passed


def test_the_users_that_there_were_count_and_not_those_of_the_start(tmp_path: Path) -> None:
    """One user was recorded at the start, four sent: N = X (R + Z) holds for four."""
    run = write_run(
        tmp_path, simulate("closed:users=4", LONG), "closed:users=1", replace(LONG, users=1), users=lambda *_: 4.0
    )
    checks = {check.name: check for check in analyse(run).validity.checks}
    assert checks["N = X·R"].passed
    assert "of N = 4, within the limit of" in checks["N = X·R"].text
    assert checks["users"].passed is False
    assert checks["users"].text.startswith(
        "4 users in the measured part; closed:users=1 asks for 1 user: the metrics are of a changing load"
    )


def test_a_time_without_users_is_not_the_server_s_doing(tmp_path: Path) -> None:
    requests = simulate(workload=LONG)
    stall(requests)
    run = write_run(
        tmp_path, requests, workload=replace(LONG, users=100), users=lambda time, _: 100.0 if time < 25 else 0.0
    )
    (check,) = [check for check in analyse(run).validity.checks if check.name == "start delay"]
    assert check.text.endswith("for a time there was no user; keep at least one")
    assert check.behind is None


def shrinking(time: float, worker: int) -> float | None:
    """A worker that leaves in the middle; the other takes over its two users ten seconds later."""
    if worker == 1:
        return 2.0 if time <= 30 else None
    return 2.0 if time <= 40 else 4.0


@pytest.mark.parametrize(
    ("users", "text"),
    [
        (lambda time, worker: 2.0, None),
        (lambda time, worker: 2.0 if time <= 32 else 8.0, "4 to 16 users, 10 on average"),
        (lambda time, worker: min(2 + time / 5, 8.0), "5 to 16 users, 13.5 on average"),
        (shrinking, "2 to 4 users"),
    ],
)
def test_users_over_time(tmp_path: Path, users: Callable[[float, int], float | None], text: str | None) -> None:
    """Changed once, at a spawn rate, by a worker that leaves; both workers together, the warm-up (2 s) left out."""
    arrivals = "closed:users=4"
    run = write_run(tmp_path, simulate(arrivals, LONG), arrivals, replace(LONG, users=4), workers=2, users=users)
    (check,) = [check for check in analyse(run).validity.checks if check.name == "users"]
    assert check.passed == (text is None)
    assert (text or "4 users throughout") in check.text


def test_in_open_loop_more_users_are_no_other_load(tmp_path: Path) -> None:
    run = write_run(tmp_path, simulate(workload=LONG), workload=LONG, users=lambda time, _: 64 + time)
    found = analyse(run)
    assert found.validity.valid, found.validity.reasons
    present = users_present(run, load(run))
    assert present is not None
    assert (present.least, present.most) == (67, 126)


@pytest.mark.parametrize(
    ("in_flight", "limit", "reason"),
    [
        (None, 0.1, "10 % of N"),
        (lambda time: 5 + 40 * (time % 20 == 0), None, "three standard errors of 60 samples of N"),
        (lambda time: 0.2, 2.5, "half a request"),
    ],
)
def test_n_x_r_shows_the_limit_that_it_used(
    tmp_path: Path, in_flight: Callable[[float], float] | None, limit: float | None, reason: str
) -> None:
    requests = simulate("poisson:rate=50", LONG, service=exponential(0.2), servers=40) if in_flight is None else None
    run = write_run(
        tmp_path, requests or simulate(workload=LONG), workload=LONG, client={"in_flight": 10.0} if requests else {}
    )
    if in_flight is not None:
        samples = run.client_samples()
        path = run.path / "client-metrics.csv"
        lines = path.read_text().splitlines()
        column = lines[0].split(",").index("in_flight")
        for row, time in enumerate(samples["time"], 1):
            cells = lines[row].split(",")
            cells[column] = repr(in_flight(float(time)))
            lines[row] = ",".join(cells)
        path.write_text("\n".join(lines) + "\n")
    (check,) = [check for check in analyse(run).validity.checks if check.name == "N = X·R"]
    assert check.limit is not None
    assert check.value is not None
    assert check.passed == (check.value <= check.limit)
    assert limit is None or check.limit == pytest.approx(limit)
    word = "within" if check.passed else "above"
    assert f", {word} the limit of {format_percent(check.limit)} ({reason})" in check.text
    assert check.reason == reason


@pytest.mark.parametrize(
    ("early", "late", "moved", "limit"), [(0.004, 0.024, "83.3 % lower", 9.52), (0.024, 0.004, "500 % higher", 10.5)]
)
def test_a_change_of_level_is_relative_to_the_later_one(
    tmp_path: Path, early: float, late: float, moved: str, limit: float
) -> None:
    requests = simulate("constant:rate=20", WORKLOAD, fixed(0.001), start_delay=0.0)
    level = np.where(requests.due < 12, early, late)
    requests.done = requests.due + level * np.random.default_rng(1).uniform(0.999, 1.001, requests.due.size)
    found = analyse(write_run(tmp_path, requests, "constant:rate=20")).validity.checks
    (head,) = [check for check in found if check.name == "warm-up"]
    assert head.passed is False
    assert f"latency in the first fifth of the run was {moved} than in its last half, above the limit of" in head.text
    assert f"the limit of {limit:g} %" in head.text
    assert head.limit == pytest.approx(limit / 100, rel=0.01)
    assert head.value == pytest.approx(abs(early / late - 1), rel=0.001)


@pytest.mark.parametrize("service", [0.01, 0.4])
def test_every_limit_that_is_shown_is_the_one_used(tmp_path: Path, service: float) -> None:
    requests = simulate("poisson:rate=20", LONG, service=exponential(service), servers=30)
    found = analyse(write_run(tmp_path, requests, "poisson:rate=20", LONG))
    held = [check for check in found.validity.checks if check.limit is not None]
    assert {check.name for check in held} >= {
        "start delay", "dropped", "worker CPU", "event-loop lag", "N = X·R", "achieved rate", "backlog", "stationary"
    }  # fmt: skip
    for check in held:
        assert check.value is not None
        assert check.reason in check.text
        assert "limit" in check.text
    median = found.summary.metrics["from_due_p50"].center
    (delay,) = [check for check in held if check.name == "start delay"]
    assert delay.limit == max(0.005, 0.1 * median)
    assert ("of the median latency" in delay.text) == (0.1 * median > 0.005)


def test_a_value_just_beyond_its_limit_does_not_read_as_the_limit(tmp_path: Path) -> None:
    requests = simulate(workload=LONG)
    requests.sent[:] = requests.due + 0.005003
    requests.done[:] = requests.sent + 0.01
    found = analyse(write_run(tmp_path, requests, workload=LONG))
    (delay,) = [check.text for check in found.validity.checks if check.name == "start delay"]
    assert "sent 5.003 ms or more after they were due, above the limit of 5 ms (" in delay


def test_unfinished_and_interrupted_runs(tmp_path: Path) -> None:
    found = analyse(write_run(tmp_path / "unfinished", simulate(), finish=False))
    assert "did not finish" in found.validity.reasons[0]
    run = write_run(tmp_path / "stopped", simulate())
    planned = replace(run.manifest, scheduled=10_000)
    stopped = replace(run, file=replace(run.file, manifest=planned, interrupted=True, elapsed=12.0))
    # What was to come after the stop is not missing.
    reasons = analyse(stopped).validity.reasons
    assert reasons[0] == "the run was stopped after 12 s of 22 s"
    assert not any("scheduled" in reason for reason in reasons)


def test_a_worker_whose_requests_are_missing(tmp_path: Path) -> None:
    requests = simulate()
    half = Requests(
        requests.due[::2], requests.sent[::2], requests.done[::2], requests.outcome[::2], requests.warmup // 2
    )
    run = write_run(tmp_path, half)
    manifest = replace(run.manifest, scheduled=requests.due.size)
    found = analyse(replace(run, file=replace(run.file, manifest=manifest)))
    assert any("were scheduled" in text for text in found.validity.reasons)


def test_what_was_not_sampled_is_a_warning_and_no_pass(tmp_path: Path) -> None:
    nothing = {"cpu": math.nan, "loop_lag": math.nan, "in_flight": math.nan}
    found = analyse(write_run(tmp_path, simulate(workload=LONG), workload=LONG, client=nothing))
    assert found.validity.valid
    assert len(found.warnings) == 3
    assert all("not checked" in warning for warning in found.warnings)


@pytest.mark.parametrize(("ceiling", "warned"), [(None, False), (1000.0, False), (55.0, True)])
def test_a_rate_near_the_ceiling_is_warned(tmp_path: Path, ceiling: float | None, warned: bool) -> None:
    found: Analysis = analyse(write_run(tmp_path, simulate(), ceiling=ceiling))
    assert any("ceiling" in warning for warning in found.warnings) == warned


def test_steady_queues_are_seldom_called_unsteady(tmp_path: Path) -> None:
    """The limits' false calls: 20 steady runs at half load, at most one INVALID."""
    invalid = 0
    for seed in range(20):
        workload = replace(WORKLOAD, duration=30.0, seed=seed)
        invalid += not analyse(write_run(tmp_path, simulate(workload=workload), workload=workload)).validity.valid
    assert invalid <= 1
