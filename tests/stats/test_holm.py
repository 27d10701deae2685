import pytest

from bench.stats.holm import holm, remaining_weights


def test_holm_by_hand() -> None:
    """Smallest times 3, next times 2, next times 1, never decreasing."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))


def test_weights_shift_the_rate() -> None:
    assert holm([0.02, 0.02], [3, 1]) == pytest.approx((0.02 / 0.75, 0.02 / 0.75))
    assert holm([0.6, 0.9]) == (1.0, 1.0)


def test_a_rejected_test_hands_its_share_on() -> None:
    assert remaining_weights([2, 1, 1], [False, False, False]).tolist() == [0.5, 0.25, 0.25]
    assert remaining_weights([2, 1, 1], [True, False, False]).tolist() == [0.5, 0.5, 0.5]
    assert remaining_weights([2, 1, 1], [True, True, True]).tolist() == [0.5, 0.25, 0.25]


def test_weights_must_be_positive() -> None:
    with pytest.raises(ValueError, match="above zero"):
        remaining_weights([1, 0], [False, False])
