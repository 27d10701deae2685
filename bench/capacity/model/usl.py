"""The Universal Scalability Law: throughput by number of users (N. Gunther, *Guerrilla Capacity Planning*, 2007).

    X(N) = λ N / (1 + σ (N - 1) + κ N (N - 1))

λ is the throughput of one user, σ the fraction of the work that is serialized (contention), κ the cost of each pair of
users (coherency). With κ above 0, throughput has a peak.

The law is fitted by least squares on logarithms, weighted by the error of each value. Intervals come from resampled
residuals, which include the misfit of the law; a law that misses a measured step by a tenth gives a warning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import optimize

from bench.core.seeds import Stream, generator
from bench.core.types import Floats
from bench.core.units import format_percent
from bench.stats.estimate import Estimate

CONFIDENCE: Final = 0.9
_RESAMPLES: Final = 300
_LARGE_MISFIT: Final = 0.1
_MIN_ERROR: Final = 0.005


@dataclass(frozen=True, slots=True)
class UslFit:
    """The parameters of the law for one server.

    Args:
        single: λ, throughput of one user, requests/s.
        contention: σ.
        coherency: κ.
        peak_users: number of users with the highest throughput; absent if throughput shows no peak.
        peak_rate: highest throughput by the law within the measured numbers of users, requests/s.
        misfit: largest relative deviation of the law from a measured step.
        users: smallest and largest measured number of users.
        warnings: one line each.
    """

    single: Estimate
    contention: Estimate
    coherency: Estimate
    peak_users: Estimate
    peak_rate: Estimate
    misfit: float
    users: tuple[int, int]
    warnings: tuple[str, ...] = ()

    def throughput(self, users: Floats) -> Floats:
        """Throughput of these numbers of users, requests/s."""
        assert self.single.center is not None
        assert self.contention.center is not None
        assert self.coherency.center is not None
        return usl(users, self.single.center, self.contention.center, self.coherency.center)


def usl(users: Floats, single: float, contention: float, coherency: float) -> Floats:
    """The law; throughput in the unit of `single`."""
    return single * users / (1 + contention * (users - 1) + coherency * users * (users - 1))


def fit_usl(users: Sequence[int], rates: Sequence[float], errors: Sequence[float], seed: int = 0) -> UslFit | None:
    """Fits the law to measured throughput.

    Args:
        users: number of users of each step.
        rates: throughput of each step, requests/s.
        errors: relative standard errors of `rates`.
        seed: random seed of the resampling.

    Returns:
        None with fewer than four steps, which three parameters would fit exactly.
    """
    if len(users) < 4:
        return None
    count, logs = np.array(users, np.float64), np.log(rates)
    weights = 1 / np.hypot(errors, _MIN_ERROR)
    best = _solve(count, logs, weights, np.array([logs[0], 0.1, 1e-3]))
    residuals = logs - np.log(_at(count, best))
    rng = generator(seed, Stream.RESAMPLING, 4)
    # Residuals underestimate the errors, by the degrees of freedom of the fit.
    spread = np.sqrt(count.size / max(count.size - 3, 1))
    samples = np.array(
        [
            _solve(count, logs - residuals + spread * residuals * rng.choice((-1.0, 1.0), count.size), weights, best)
            for _ in range(_RESAMPLES)
        ]
    )
    misfit = float(np.abs(np.expm1(-residuals)).max())
    warnings = []
    if misfit > _LARGE_MISFIT:
        warnings.append(
            f"the law deviates from a measured step by {format_percent(misfit)}; trust the measured throughput instead"
        )
    grid = np.arange(count.min(), count.max() + 1)
    return UslFit(
        single=_summary("single", float(np.exp(best[0])), np.exp(samples[:, 0])),
        contention=_summary("contention", float(best[1]), samples[:, 1]),
        coherency=_summary("coherency", float(best[2]), samples[:, 2]),
        peak_users=_peak(best, samples, count.max()),
        peak_rate=_summary(
            "peak_rate", float(_at(grid, best).max()), np.array([_at(grid, sample).max() for sample in samples])
        ),
        misfit=misfit,
        users=(min(users), max(users)),
        warnings=tuple(warnings),
    )


def _at(users: Floats, parameters: Floats) -> Floats:
    return usl(users, float(np.exp(parameters[0])), float(parameters[1]), float(parameters[2]))


def _solve(users: Floats, logs: Floats, weights: Floats, start: Floats) -> Floats:
    found = optimize.least_squares(
        lambda x: (np.log(_at(users, x)) - logs) * weights,
        np.clip(start, [-np.inf, 0.0, 0.0], [np.inf, 10.0, 1.0]),
        bounds=([-np.inf, 0.0, 0.0], [np.inf, 10.0, 1.0]),
        x_scale=[1.0, 0.1, 1e-3],
    )
    return np.asarray(found.x)


def _peak(best: Floats, samples: Floats, most: float) -> Estimate:
    """The number of users with the highest throughput, N = sqrt((1 - σ) / κ)."""
    peaks = np.sqrt(np.maximum(1 - samples[:, 1], 0) / np.maximum(samples[:, 2], 1e-12))
    center = float(np.sqrt(max(1 - best[1], 0) / max(best[2], 1e-12)))
    if center > 10 * most:
        return Estimate.absent(
            "peak_users", "throughput has no peak within ten times the measured users", confidence=CONFIDENCE
        )
    lo, hi = np.quantile(peaks, [0.05, 0.95])
    top = None if hi > 10 * most else max(float(hi), center)
    warnings = () if center <= most else ("above the largest measured number of users",)
    return Estimate("peak_users", center, min(float(lo), center), top, CONFIDENCE, samples.shape[0], warnings)


def _summary(metric: str, center: float, values: Floats) -> Estimate:
    lo, hi = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(metric, center, min(float(lo), center), max(float(hi), center), CONFIDENCE, values.size)
