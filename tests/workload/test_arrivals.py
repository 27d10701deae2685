"""Schedules: table-tested, seeded, no sleeping."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.core.errors import UsageError
from bench.core.seeds import Stream
from bench.workload.arrivals import ClosedLoop, OpenLoop, parse_arrivals
from bench.workload.trace_context import TraceContexts

# Text, its canonical form.
CANONICAL = [
    ("closed:users=8", "closed:users=8"),
    ("closed:users=8,think=0s", "closed:users=8"),
    (" CLOSED: users = 8 , think = 1m ", "closed:users=8,think=60s"),
    ("poisson:rate=50", "poisson:rate=50"),
    ("poisson:rate=600/m", "poisson:rate=10"),
    ("constant:rate=0.1", "constant:rate=0.1"),
    ("ramp:from=5,to=80", "ramp:from=5,to=80"),
    ("ramp:from=0,to=80,spacing=even", "ramp:from=0,to=80,spacing=even"),
    ("step:rates=10,20,40,hold=30s", "step:rates=10,20,40,hold=30s"),
    ("step:hold=250ms,rates=10,20,40", "step:rates=10,20,40,hold=0.25s"),
    ("step:rates=10,20", "step:rates=10,20"),
    ("ramp:from=0.0/s,to=80", "ramp:from=0,to=80"),
    ("burst:base=10,peak=80,every=20s,length=2s", "burst:base=10,peak=80,every=20s,length=2s"),
    ("burst:base=0,peak=80,every=1m,length=2s,spacing=even", "burst:base=0,peak=80,every=60s,length=2s,spacing=even"),
]

# Text, a part of the one line that says what is wrong.
BAD = [
    ("", "unknown arrivals"),
    ("possion:rate=5", "unknown arrivals"),
    ("poisson", "has no options"),
    ("poisson:", "has no options"),
    ("poisson:rate=0", "above zero"),
    ("poisson:rate=-1", "above zero"),
    ("posson:rate=5", "did you mean poisson?"),
    ("burst:bse=10,peak=80,every=20s,length=2s", "did you mean base?"),
    ("closed:users=8,think=5", "is a duration without a unit; write 5ms or 5s"),
    ("step:rates=5,10,hold=30", "is a duration without a unit"),
    ("poisson:rate=nan", "is not a rate"),
    ("poisson:rate=inf", "is not a rate"),
    ("poisson:rate=1e400", "above zero"),
    ("poisson:rate=", "needs rate"),
    ("poisson:users=5", "no option 'users=5'"),
    ("poisson:rate=5,rate=6", "rate twice"),
    ("poisson:5", "no option '5'"),
    ("closed:users=0", "at least one user"),
    ("closed:users=100001", "at most 100,000 users, not 100,001; give fewer"),
    ("closed:users=999999999", "at most 100,000 users, not 999,999,999"),
    ("closed:users=9999999999", "at most 100,000 users, not 9,999,999,999"),
    ("closed:users=1.5", "whole number"),
    ("closed:users=8,think=-1s", "duration"),
    ("ramp:from=0,to=0", "above zero"),
    ("ramp:from=5", "needs to"),
    ("ramp:from=0_0,to=5", "'0_0' is not a rate"),
    ("ramp:from=5,to=6,spacing=uneven", "poisson or even"),
    ("step:rates=10,,20", "not a rate"),
    ("step:rates=10,0", "above zero"),
    ("step:rates=10,hold=0s", "above zero"),
    ("burst:base=1,peak=2,every=2s,length=2s", "does not fit"),
    ("trace:/no/such/file", "cannot be read"),
]


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_canonical_text_parses_back_to_an_equal_value(text: str, canonical: str) -> None:
    arrivals = parse_arrivals(text)
    assert str(arrivals) == canonical
    assert parse_arrivals(canonical) == arrivals


@pytest.mark.parametrize(("text", "message"), BAD)
def test_bad_text_gets_one_line_that_names_the_fault(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_arrivals(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def open_loop(text: str) -> OpenLoop:
    arrivals = parse_arrivals(text)
    assert isinstance(arrivals, OpenLoop)
    return arrivals


# Arrivals, duration, the exact due times.
EVEN = [
    ("constant:rate=2", 2.0, [0.0, 0.5, 1.0, 1.5]),
    ("constant:rate=0.1", 30.0, [0.0, 10.0, 20.0]),
    # The fourth request would be due exactly at the end.
    ("constant:rate=10", 0.3, [0.0, 0.1, 0.2]),
    # Integral t²/2 of the rate t: events 0, 1, 2, ... at √(2n).
    ("ramp:from=0,to=3,spacing=even", 3.0, [0.0, 2**0.5, 2.0, 6**0.5, 8**0.5]),
    # Falling to zero: integral 2t − t²/2.
    ("ramp:from=2,to=0,spacing=even", 2.0, [0.0, 2 - 2**0.5]),
    ("step:rates=1,2,hold=2s,spacing=even", 4.0, [0.0, 1.0, 2.0, 2.5, 3.0, 3.5]),
    ("step:rates=1,2,spacing=even", 4.0, [0.0, 1.0, 2.0, 2.5, 3.0, 3.5]),
    # The last rate goes on to the end.
    ("step:rates=1,2,hold=1s,spacing=even", 3.0, [0.0, 1.0, 1.5, 2.0, 2.5]),
    ("burst:base=0,peak=2,every=3s,length=1s,spacing=even", 6.0, [2.0, 2.5, 5.0, 5.5]),
]


@pytest.mark.parametrize(("text", "duration", "due"), EVEN)
def test_even_schedules_are_exact(text: str, duration: float, due: list[float]) -> None:
    np.testing.assert_allclose(open_loop(text).due_times(duration, seed=1), due, atol=1e-12)


ALL_OPEN = [
    "poisson:rate=50",
    "constant:rate=50",
    "ramp:from=5,to=80",
    "step:rates=10,20,40,hold=20s",
    "burst:base=10,peak=80,every=20s,length=2s",
]


@pytest.mark.parametrize("text", ALL_OPEN)
@pytest.mark.parametrize("duration", [0.5, 7.3, 60.0])
def test_due_times_are_sorted_within_the_run_and_as_many_as_expected(text: str, duration: float) -> None:
    arrivals = open_loop(text)
    due = arrivals.due_times(duration, seed=3)
    assert due.dtype == np.float64
    assert np.all(np.diff(due) >= 0)
    assert due[0] >= 0
    assert due[-1] < duration
    expected = arrivals.expected_requests(duration)
    assert abs(due.size - expected) <= 5 * expected**0.5 + 1


@pytest.mark.parametrize("text", ALL_OPEN)
def test_the_seed_alone_decides_the_schedule_for_any_number_of_workers(text: str) -> None:
    arrivals = open_loop(text)
    due = arrivals.due_times(60.0, seed=5)
    for workers in (1, 2, 4):
        shares = [arrivals.due_times(60.0, seed=5)[worker::workers] for worker in range(workers)]
        np.testing.assert_array_equal(np.sort(np.concatenate(shares)), due)
    if text != "constant:rate=50":
        assert not np.array_equal(due[:20], arrivals.due_times(60.0, seed=6)[:20])
        assert not np.array_equal(due[:20], arrivals.due_times(60.0, seed=5, stream=Stream.WARMUP)[:20])


def test_a_longer_run_extends_a_shorter_one() -> None:
    short, long = (open_loop("poisson:rate=50").due_times(duration, seed=9) for duration in (10.0, 100.0))
    np.testing.assert_allclose(long[: short.size], short)


@pytest.mark.parametrize("seed", range(5))
def test_poisson_gaps_pass_a_kolmogorov_smirnov_test(seed: int) -> None:
    gaps = np.diff(open_loop("poisson:rate=50").due_times(60.0, seed))
    assert stats.kstest(gaps, "expon", args=(0, 1 / 50)).pvalue > 0.001


@pytest.mark.parametrize("text", ["ramp:from=5,to=80", "burst:base=10,peak=80,every=20s,length=2s"])
def test_changing_rates_are_poisson_after_time_rescaling(text: str) -> None:
    """Events mapped through the integrated rate must be uniform, so the rate at every moment is the stated one."""
    arrivals = open_loop(text)
    due = arrivals.due_times(600.0, seed=2)
    grid = np.linspace(0, 600, 60_001)
    integral = np.concatenate(([0.0], np.cumsum(arrivals.rate_at((grid[1:] + grid[:-1]) / 2, 600.0) * 0.01)))
    assert stats.kstest(np.interp(due, grid, integral) / integral[-1], "uniform").pvalue > 0.001


def test_rate_is_the_stated_one() -> None:
    times = np.array([0.0, 5.0, 9.99, 10.0])
    np.testing.assert_allclose(open_loop("ramp:from=0,to=10").rate_at(times, 10.0), [0, 5, 9.99, 0])
    np.testing.assert_allclose(open_loop("step:rates=1,2,hold=5s").rate_at(times, 10.0), [1, 2, 2, 0])


def test_a_cut_step_schedule_is_noted() -> None:
    arrivals = parse_arrivals("step:rates=10,20,40,hold=30s")
    assert arrivals.notes(90.0) == ()
    assert "take 90s but the run lasts 60s" in arrivals.notes(60.0)[0]


def test_a_run_without_a_burst_and_one_that_outlasts_its_trace_are_noted(tmp_path: Path) -> None:
    burst = parse_arrivals("burst:base=10,peak=80,every=20s,length=2s")
    assert burst.notes(18.1) == ()
    assert burst.notes(18.0) == ("the first burst begins after 18s but the run lasts 18s: there is none",)
    (tmp_path / "due").write_text("0\n9.5\n")
    trace = parse_arrivals(f"trace:{tmp_path}/due")
    assert trace.notes(10.0) == ()
    (note,) = trace.notes(60.0)
    assert note.startswith("the trace's last request is due after 9.5 s but the run lasts 60s: rates are means")


@pytest.mark.parametrize(
    ("text", "duration", "message"),
    [
        ("poisson:rate=1e9", 60.0, "the limit is"),
        ("burst:base=0,peak=1,every=9s,length=1s", 5.0, "no request"),
        ("burst:base=1,peak=2,every=1ms,length=0.5ms", 86400.0, "has 86,400,000 bursts, the limit is 1,000,000"),
    ],
)
def test_absurd_schedules_are_refused(text: str, duration: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_loop(text).due_times(duration, seed=1)


def test_closed_loop_has_no_schedule() -> None:
    arrivals = parse_arrivals("closed:users=3,think=1s")
    assert isinstance(arrivals, ClosedLoop)
    assert not arrivals.open_loop
    assert (arrivals.users, arrivals.think) == (3, 1.0)


def test_trace_of_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a,b=1.txt"
    path.write_text("# due\n0.5\n\n0.25\n3\n", encoding="utf-8")
    arrivals = open_loop(f"trace:{path}")
    np.testing.assert_array_equal(arrivals.due_times(10.0, seed=1), [0.25, 0.5, 3.0])
    np.testing.assert_array_equal(arrivals.due_times(1.0, seed=1), [0.25, 0.5])
    assert "1 of the trace's 3" in arrivals.notes(1.0)[0]
    assert parse_arrivals(str(arrivals)) == arrivals
    assert arrivals.expected_requests(10.0) == 3


def test_trace_of_a_csv_column_with_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("host,time\na,1700000001\nb,1700000000\nc,1700000004\n", encoding="utf-8")
    arrivals = open_loop(f"trace:{path},column=time,origin=first,speed=2")
    np.testing.assert_array_equal(arrivals.due_times(10.0, seed=1), [0.0, 0.5, 2.0])
    assert str(arrivals) == f"trace:{path},column=time,origin=first,speed=2"
    assert parse_arrivals(str(arrivals)) == arrivals


def test_requests_that_a_trace_has_in_one_second_are_told_apart(tmp_path: Path) -> None:
    """Of 50 in a second 44 had a trace id of their own, with 200 sentences."""
    path = tmp_path / "log"
    path.write_text("0\n" * 50 + "1\n" * 50)
    arrivals = open_loop(f"trace:{path}")
    due = arrivals.due_times(2.0, seed=1)
    assert np.unique(due).size == 100
    np.testing.assert_allclose(due, [0.0] * 50 + [1.0] * 50, atol=1e-7)
    contexts = TraceContexts("run", 1.0)
    assert len({contexts.trace_id(float(time), 7, "rest") for time in due}) == 100


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", "", "no due time"),
        ("1\nx\n", "", "line 2: 'x'"),
        ("nan\n", "", "line 1: 'nan'"),
        ("1_5\n", "", "line 1: '1_5'"),
        ("\u0665\n", "", "line 1: "),
        ("1\n", ",speed=1_0", "from 0.001 to 1000"),
        ("a,b,a\n1,2,3\n", ",column=a", "has 2 columns 'a'; rename all but one"),
        ("-1\n", "", "add ,origin=first"),
        ("1700000000\n", "", "timestamps"),
        ("a,b\n1,2\n", ",column=c", "its columns are a, b"),
        ("a,b\n1\n", ",column=b", "line 2"),
        ("1\n", ",speed=0", "from 0.001 to 1000"),
        ("1\n", ",speed=1e-320", "from 0.001 to 1000"),
        ("1\n", ",origin=last", "zero or first"),
    ],
)
def test_bad_traces_get_one_line(tmp_path: Path, content: str, options: str, message: str) -> None:
    path = tmp_path / "trace"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        parse_arrivals(f"trace:{path}{options}")
    assert "\n" not in str(caught.value)


def test_a_trace_that_is_a_pipe_is_refused_without_reading_it(tmp_path: Path) -> None:
    """As `trace:<(printf ...)` gives one."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="/pipe is a pipe or a device, .*; write the times into a file"):
        parse_arrivals(f"trace:{tmp_path}/pipe")
    reader, writer = os.pipe()
    os.write(writer, b"0.1\n")
    with pytest.raises(UsageError, match="is a pipe or a device"):
        parse_arrivals(f"trace:/dev/fd/{reader}")
    assert os.read(reader, 10) == b"0.1\n"
    os.close(reader)
    os.close(writer)
