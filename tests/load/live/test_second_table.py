"""Counts by second that forget old seconds, against counts that do not."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.load.live.second_table import MOST_BATCHES, SecondBatches, SecondTable

KEPT = 50
Counts = NDArray[np.int64]


def events(length: int, seed: int = 5) -> list[tuple[Counts, Counts]]:
    """Seconds and codes of events in the order of a run: most are new, some are late by up to a fifth of the run."""
    rng = np.random.default_rng(seed)
    found = []
    for second in range(length):
        late = np.where(rng.random(8) < 0.1, rng.integers(0, 1 + length // 5, 8), 0)
        found.append((np.maximum(second - late, 0), rng.integers(0, 2, 8)))
    return found


def truth(given: list[tuple[Counts, Counts]], code: int, length: int) -> Counts:
    return np.bincount(np.concatenate([seconds[codes == code] for seconds, codes in given]), minlength=length)


@pytest.mark.parametrize("length", [30, 1000])
def test_the_newest_seconds_and_all_sums_are_exact(length: int) -> None:
    given = events(length)
    table = SecondTable(("a", "b"), KEPT)
    for seconds, codes in given:
        table.add("a", seconds, codes)
    assert table.length == length
    assert length - 2 * KEPT <= table.first <= max(length - KEPT, 0)
    for code, name in enumerate(("a", "b")):
        expected = truth(given, code, length)
        assert table.total(name) == expected.sum()
        np.testing.assert_array_equal(table.column(name, table.first), expected[table.first :])
        assert not table.column(name, 0, table.first).any()
        for second in (table.first, length - 5, length):
            assert table.before(name, second) == expected[:second].sum()


@pytest.mark.parametrize("lengths", [(1000, 1000), (1000, 340), (340, 1000), (20, 1000), (1000, 0)])
def test_tables_of_other_lengths_add_up(lengths: tuple[int, int]) -> None:
    whole, given = SecondTable(("a", "b"), KEPT), [events(length, seed) for seed, length in enumerate(lengths)]
    for part in given:
        table = SecondTable(("a", "b"), KEPT)
        for seconds, codes in part:
            table.add("a", seconds, codes)
        whole.merge(table)
    both = given[0] + given[1]
    expected = truth(both, 1, max(lengths))
    assert whole.total("b") == expected.sum()
    np.testing.assert_array_equal(whole.column("b", whole.first), expected[whole.first :])
    assert whole.before("b", whole.first) == expected[: whole.first].sum()


def test_a_long_run_needs_no_more_memory_than_a_short_one() -> None:
    sizes = []
    table = SecondTable(("a", "b"), KEPT)
    for second in range(5000):
        table.add("a", np.array([second]))
        sizes.append(table._counts.nbytes)
    assert sizes[-1] == max(sizes) == sizes[2 * KEPT]
    # As of a damaged clock: one event, not a table up to it.
    table.add("a", np.array([10**8]))
    assert table._counts.nbytes == sizes[-1]
    assert table.total("a") == 5001


def test_batches_have_what_was_counted_since_their_beginning() -> None:
    given = events(1000)
    batches, parts = SecondBatches(7, 2), [SecondBatches(7, 2), SecondBatches(7, 2)]
    for index, (seconds, codes) in enumerate(given):
        for code in (0, 1):
            batches.add(code, seconds[codes == code])
            # The second one ends early, and has shorter batches.
            parts[index >= 100].add(code, seconds[codes == code])
    expected = truth(given, 1, 1000)[7:]
    assert batches.total(1) == expected.sum()
    assert batches.seconds == 16
    assert MOST_BATCHES // 2 <= batches.complete(1, 993).size <= MOST_BATCHES
    whole = expected[: expected.size // 16 * 16].reshape(-1, 16).sum(axis=1)
    np.testing.assert_array_equal(batches.complete(1, 993), whole)
    for order in (parts, parts[::-1]):
        merged = SecondBatches(7, 2)
        for part in order:
            merged.merge(part)
        np.testing.assert_array_equal(merged.complete(1, 993), whole)
