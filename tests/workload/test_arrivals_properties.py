"""Schedules of any kind: sorted, inside the run, drawn by the seed, and their text reads back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import UsageError
from bench.workload.arrivals import Burst, ClosedLoop, Constant, OpenLoop, Poisson, Ramp, Step, parse_arrivals

RATES = st.floats(0.1, 200)
SPACINGS = st.sampled_from(["poisson", "even"])
LENGTHS = st.floats(0.01, 30)


@st.composite
def bursts(draw: st.DrawFn) -> Burst:
    """A burst shorter than what it comes in."""
    every = draw(LENGTHS)
    length = every * draw(st.floats(0.05, 0.95))
    return Burst(spacing=draw(SPACINGS), base=draw(st.just(0.0) | RATES), peak=draw(RATES), every=every, length=length)


OPEN_LOOPS = st.one_of(
    st.builds(Poisson, RATES),
    st.builds(Constant, RATES),
    st.builds(Ramp, spacing=SPACINGS, start=st.just(0.0) | RATES, stop=RATES),
    st.builds(
        Step, spacing=SPACINGS, rates=st.lists(RATES, min_size=1, max_size=4).map(tuple), hold=st.none() | LENGTHS
    ),
    bursts(),
)
SEEDS = st.integers(0, (1 << 32) - 1)


@given(OPEN_LOOPS, st.floats(0.1, 40), SEEDS)
def test_due_times_are_sorted_inside_the_run_and_drawn_by_the_seed(
    arrivals: OpenLoop, duration: float, seed: int
) -> None:
    try:
        due = arrivals.due_times(duration, seed)
    except UsageError as error:
        # A short run at a low rate may hold no request.
        assert "\n" not in str(error)
        assert arrivals.expected_requests(duration) < 40
        return
    assert due.dtype == np.float64
    assert due.size
    assert due[0] >= 0
    assert due[-1] < duration
    assert (np.diff(due) >= 0).all()
    np.testing.assert_array_equal(arrivals.due_times(duration, seed), due)


@given(OPEN_LOOPS, st.floats(1, 40))
def test_even_arrivals_are_as_many_as_expected_whatever_the_seed(arrivals: OpenLoop, duration: float) -> None:
    expected = arrivals.expected_requests(duration)
    if not arrivals.even or expected < 1:
        return
    due = arrivals.due_times(duration, seed=1)
    assert abs(due.size - expected) <= 1
    np.testing.assert_array_equal(arrivals.due_times(duration, seed=2), due)


@given(st.builds(Poisson, st.floats(20, 200)), st.floats(5, 20), SEEDS)
def test_independent_arrivals_differ_by_the_seed(arrivals: Poisson, duration: float, seed: int) -> None:
    one, two = arrivals.due_times(duration, seed), arrivals.due_times(duration, seed + 1)
    assert one.size != two.size or not np.array_equal(one, two)
    # Six standard deviations of a Poisson count.
    assert abs(one.size - arrivals.expected_requests(duration)) < 6 * np.sqrt(arrivals.expected_requests(duration))


@given(OPEN_LOOPS | st.builds(ClosedLoop, users=st.integers(1, 10_000), think=st.just(0.0) | LENGTHS))
def test_the_text_reads_back(arrivals: OpenLoop | ClosedLoop) -> None:
    assert parse_arrivals(str(arrivals)) == arrivals


@given(
    st.sampled_from(["closed", "poisson", "ramp", "step", "burst", "?"]),
    st.text("abrtesuoldk=,.0159smh-_ \u0663", max_size=20),
)
def test_any_text_is_arrivals_or_one_line(kind: str, rest: str) -> None:
    try:
        arrivals = parse_arrivals(f"{kind}:{rest}")
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert parse_arrivals(str(arrivals)) == arrivals


@pytest.mark.parametrize("text", ["poisson:rate=1_0", "poisson:rate=\u0663", "closed:users=\u0663", "closed:users=1_0"])
def test_numbers_are_plain_digits(text: str) -> None:
    with pytest.raises(UsageError):
        parse_arrivals(text)
