"""The buckets of an HdrHistogram of whole microseconds with three significant digits, up to a day.

Values below 2,048 µs have a bucket each; above, each doubling is divided into 1,024 buckets, so that none is wider than
a thousandth of its values. Buckets are numbered in the order of their values.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats

HIGHEST: Final = 24 * 3600 * 1_000_000
"""Highest value, microseconds; higher ones are counted as this."""
_HALF: Final = 1024
_BITS: Final = 11  # 2048 sub-buckets: what three significant digits need
SIZE: Final = 28 * _HALF
"""Number of buckets, those above `HIGHEST` included."""


def bucket_of(seconds: Floats) -> NDArray[np.int64]:
    """The bucket of each of `seconds` `[N]`."""
    micros = np.clip(np.rint(seconds * 1e6), 0, HIGHEST).astype(np.int64)
    shift = np.maximum(np.frexp(micros.astype(np.float64))[1] - _BITS, 0)
    return np.asarray(shift * _HALF + (micros >> shift))


def lowest_micros(buckets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest value of each bucket, microseconds."""
    shift = np.maximum(buckets // _HALF - 1, 0)
    return np.asarray((buckets - shift * _HALF) << shift)


def highest_seconds(bucket: int) -> float:
    """The largest value of a bucket, seconds: what HdrHistogram reports for a percentile in it."""
    shift = max(bucket // _HALF - 1, 0)
    return (((bucket - shift * _HALF + 1) << shift) - 1) / 1e6
