"""The effective sample size of a correlated series, and intervals of its mean that take it into account.

Latencies of one server are correlated: a request that queues behind a slow one is slow too. At 90 % utilization 24,576
requests of a single-server queue have an effective sample size of about 150, and intervals that assume independence are
too narrow.

The series is first cut into at most `MAX_CELLS` equal cells of consecutive values. The variance of the overall mean
then comes from the autocovariances of the cells' means, summed by Geyer's initial monotone sequence (C. Geyer,
*Practical Markov chain Monte Carlo*, Statistical Science 7, 1992, section 3.3): sums of neighbouring pairs of
autocovariances are added as long as they are positive, each no larger than the one before.

Simulated (single-server queue, 400 runs a cell), the nominal 95 % interval of the mean covers the true value in 94-96 %
of runs of 800 correlation times or more, in 93 % at 300, 90 % at 130, 85 % at 50 and 80 % at 20; below `FEW_TIMES` it
has a warning.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats
from bench.core.units import times_as_long
from bench.stats.distributions import student_quantile
from bench.stats.estimate import Estimate

Series = Floats | NDArray[np.bool_]

MAX_CELLS: Final = 16_384
"""Most cells of a series."""

FEW_TIMES: Final = 50
"""The standard error from fewer correlation times than this is unreliable, and the interval has a warning."""


@dataclass(frozen=True, slots=True)
class MeanError:
    """The mean of a correlated series and its standard error.

    Args:
        mean: of the series.
        error: standard error of the mean.
        n: effective sample size, at most the number of values.
        times: length of the series in correlation times, on which the estimate of `error` itself is based.
    """

    mean: float
    error: float
    n: float
    times: float

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the error, for Student's t: one less than the correlation times, at least 1."""
        return max(self.times - 1.0, 1.0)


def mean_error(series: Series, most_cells: int = MAX_CELLS) -> MeanError:
    """Mean and standard error of `series` `[N]`, in time order, N at least 2.

    Args:
        series: the values.
        most_cells: most cells that the series is cut into; few and long ones see a slow correlation that is weak from
            one value to the next.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    size = series.size
    if size < 2:
        raise ValueError(f"{size} values have no standard error")
    means = _cell_means(series, most_cells)
    mean = float(np.mean(series, dtype=np.float64))
    if not math.isfinite(mean):
        raise ValueError("a value is not finite")
    centered = means - means.mean()
    variance = float(np.mean(centered**2))
    # Of equal values the mean may differ from them by rounding, and that alone would look like a correlation.
    if means.min() == means.max():
        return MeanError(mean, 0.0, float(size), float(means.size))
    # 1 for independent cells, more for positive correlation; values below 1 are chance.
    time = max(_monotone_sum(_autocovariance(centered)) / variance, 1.0)
    times = means.size / time
    # A division by N instead of N - times underestimates the error of a short series.
    error = math.sqrt(variance * time / means.size / max(1 - 1 / times, 0.5))
    own = float(np.var(series, dtype=np.float64))
    return MeanError(mean, error, min(own / error**2, float(size)), times)


def mean_interval(metric: str, series: Series, confidence: float = 0.95) -> Estimate:
    """The mean of a correlated series with Student's interval over its correlation times.

    Args:
        metric: name of the estimate.
        series: values in time order, `[N]`; with fewer than two the ends are unbounded, with none it is absent.
        confidence: of the interval.
    """
    if series.size == 0:
        return Estimate.absent(metric, "no value; needs at least 2", confidence=confidence)
    if series.size == 1:
        return Estimate(metric, float(series[0]), None, None, confidence, 1, ("one value; an interval needs 2",))
    found = mean_error(series)
    half = student_quantile((1 + confidence) / 2, found.freedom) * found.error
    # Equal values give no reason to ask for more of them.
    warnings = () if found.times >= FEW_TIMES or not found.error else (few_times_warning(found.times),)
    # The mean of values that are not negative is not negative.
    least = 0.0 if series.min() >= 0 else -math.inf
    return Estimate(metric, found.mean, max(found.mean - half, least), found.mean + half, confidence, found.n, warnings)


def few_times_warning(times: float) -> str:
    """The warning for a series that is short compared with its correlation time."""
    return (
        f"the run is only {math.floor(10 * times) / 10:.1f} correlation times long and its interval may be too narrow; "
        f"run {times_as_long(FEW_TIMES / times)}, or repeat"
    )


def _cell_means(series: Series, most: int) -> Floats:
    """Means of at most `most` cells of equal size, without the incomplete last one."""
    size = -(-series.size // most)
    cells = series.size // size
    return np.asarray(series[: cells * size].reshape(cells, size).mean(axis=1, dtype=np.float64))


def _autocovariance(centered: Floats) -> Floats:
    """Autocovariances at all lags, divided by the number of values (biased, as Geyer's rule needs)."""
    padded = 1 << (2 * centered.size - 1).bit_length()
    spectrum = np.fft.rfft(centered, padded)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), padded)[: centered.size] / centered.size)


def _monotone_sum(covariance: Floats) -> float:
    """Geyer's estimate of the sum of all autocovariances, both signs of the lag."""
    pairs = covariance[: covariance.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    positive = pairs[: negative[0]] if negative.size else pairs
    return float(2 * np.minimum.accumulate(positive).sum() - covariance[0]) if positive.size else float(covariance[0])
