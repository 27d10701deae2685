"""Buckets, against those of the HdrHistogram library."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from scipy import stats

from bench.stats.batch_means import _student, effective_size, proportion_bounds
from bench.stats.latency_buckets import HIGHEST, SIZE, bucket_of, highest_seconds, lowest_micros

MICROS = [0, 1, 2, 1023, 1024, 2047, 2048, 2049, 4095, 4096, 65_537, 1_000_000, 123_456_789, HIGHEST]


@pytest.mark.parametrize("micros", MICROS)
def test_a_bucket_is_the_library_s(micros: int) -> None:
    library = HdrHistogram(1, HIGHEST, 3)
    (bucket,) = bucket_of(np.array([micros / 1e6]))
    assert lowest_micros(np.array([bucket])).tolist() == [library.get_lowest_equivalent_value(micros)]
    assert round(highest_seconds(int(bucket)) * 1e6) == library.get_highest_equivalent_value(micros)
    assert bucket < SIZE


def test_buckets_are_in_the_order_of_their_values() -> None:
    values = np.sort(np.random.default_rng(1).lognormal(-5, 4, 10_000))
    assert (np.diff(bucket_of(values)) >= 0).all()


def test_longer_than_a_day_is_a_day() -> None:
    assert bucket_of(np.array([1e9]))[0] == bucket_of(np.array([HIGHEST / 1e6]))[0]


@pytest.mark.parametrize("freedom", [7, 15, 63, 500])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_student_s_quantile(freedom: int, confidence: float) -> None:
    level = (1 + confidence) / 2
    assert _student(float(stats.norm.ppf(level)), freedom) == pytest.approx(stats.t.ppf(level, freedom), rel=2e-3)


def test_independent_batches_are_worth_their_values() -> None:
    rng = np.random.default_rng(5)
    sizes = np.full(64, 100)
    found = [effective_size(0.9, rng.binomial(sizes, 0.9), sizes) for _ in range(200)]
    assert 5500 < np.median(found) <= 6400
    # A batch that is slow as a whole is worth one value.
    hits = np.where(np.arange(64) % 10 == 0, 0, 100)
    assert effective_size(0.9, hits, sizes) < 80


def test_the_interval_of_a_proportion_narrows_with_the_values() -> None:
    few, many = (proportion_bounds(0.99, n, 64, 0.95) for n in (400, 40_000))
    assert few.lo < many.lo < 0.99 < many.hi < few.hi < 1
