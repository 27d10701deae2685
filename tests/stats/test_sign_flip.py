import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.stats.sign_flip import GENERATORS, sequential_sign_flip, sign_patterns, signed_ranks


def crossings(sizes: NDArray[Any], patterns: NDArray[Any], looks: list[int], spending: NDArray[Any]) -> NDArray[Any]:
    """For each pattern of signs the look at which the test on `sizes` crosses, -1 for never."""
    found = [sequential_sign_flip((pattern * sizes)[:, None], looks, spending).crossed[0] for pattern in patterns]
    return np.array([-1 if look is None else look for look in found])


@pytest.mark.parametrize(
    "sizes",
    [
        np.array([0.3, 1.0, 2.0, 0.1, 5.0, 0.7, 0.4, 3.0, 0.2]),
        np.array([1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]),
        np.array([0.0, 1.0, 2.0, 0.0, 5.0, 0.7, 0.4, 3.0, 1e9]),
    ],
    ids=["distinct", "ties", "zeros and a monster"],
)
def test_the_share_of_crossings_under_fair_coins_is_what_was_spent(sizes: NDArray[Any]) -> None:
    """All patterns of signs are tried: the error rate is counted, not estimated."""
    patterns = np.array(list(itertools.product([1.0, -1.0], repeat=sizes.size)))
    looks, spending = [5, 7, 9], np.array([[0.04], [0.08], [0.2]])
    found = crossings(sizes, patterns, looks, spending)
    shares = [np.mean((found >= 0) & (found <= look)) for look in range(3)]
    assert all(share <= spent for share, spent in zip(shares, spending[:, 0], strict=True))
    if len(set(sizes)) == sizes.size:
        assert shares == pytest.approx(spending[:, 0], abs=2 / 32)


def test_the_error_rate_holds_beyond_the_enumerated_pairs() -> None:
    rng = np.random.default_rng(4)
    size, trials, spent = GENERATORS + 12, 600, 0.2
    looks = [8, 15, size]
    spending = np.array([[0.07], [0.14], [spent]])
    hits = sum(
        sequential_sign_flip(rng.standard_t(2, (size, 1)), looks, spending).crossed[0] is not None
        for _ in range(trials)
    )
    assert hits / trials == pytest.approx(spent, abs=4 * np.sqrt(spent * (1 - spent) / trials))


def test_patterns_form_a_group_that_starts_with_no_change() -> None:
    patterns = sign_patterns(GENERATORS + 5)
    assert patterns.shape == (2**GENERATORS, GENERATORS + 5)
    assert (patterns[0] == 1).all()
    members = {row.tobytes() for row in patterns}
    assert len(members) == len(patterns)
    rng = np.random.default_rng(0)
    for left, right in rng.integers(len(patterns), size=(50, 2)):
        assert (patterns[left] * patterns[right]).tobytes() in members


def test_a_longer_series_keeps_the_patterns_of_its_start() -> None:
    """So that a look gives the same later as it gave at its time."""
    np.testing.assert_array_equal(sign_patterns(80)[:, :20], sign_patterns(20))


def test_a_clear_shift_crosses_as_soon_as_the_level_allows() -> None:
    values = np.full((12, 1), 1.0) + np.arange(12)[:, None] / 100
    found = sequential_sign_flip(values, [4, 7, 12], np.array([[0.01], [0.02], [0.05]]))
    assert found.crossed == (1,)
    assert found.p == (2**-12,)


def test_series_are_judged_apart() -> None:
    values = np.stack([np.ones(8), -np.ones(8), np.tile([1.0, -1.0], 4)], axis=1)
    found = sequential_sign_flip(values, [8], np.full((1, 3), 0.05))
    assert found.crossed == (0, None, None)
    assert found.p[1] == 1.0


def test_one_wild_pair_does_not_decide() -> None:
    calm = np.array([0.1, -0.1, 0.12, -0.13, 0.09, -0.11, 0.1, -0.08])[:, None]
    wild = calm.copy()
    wild[0] = 1e6
    assert sequential_sign_flip(wild, [8], np.array([[0.05]])).crossed == (None,)


def test_signed_ranks() -> None:
    values = np.array([[0.0], [-3.0], [1.0], [-1.0], [7.0]])
    assert signed_ranks(values)[:, 0].tolist() == [0.0, -4.0, 2.5, -2.5, 5.0]


@pytest.mark.parametrize(
    ("looks", "values"),
    [([], np.ones((3, 1))), ([3, 3], np.ones((3, 1))), ([4], np.ones((3, 1))), ([2], np.array([[np.nan], [1.0]]))],
)
def test_bad_input(looks: list[int], values: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="looks must|values must"):
        sequential_sign_flip(values, looks, np.full((len(looks), 1), 0.1))
