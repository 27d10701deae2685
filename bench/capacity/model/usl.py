"""The Universal Scalability Law: throughput by number of users (N. Gunther, *Guerrilla Capacity Planning*, 2007).

    X(N) = λ N / (1 + σ (N - 1) + κ N (N - 1))

λ is the throughput of one user, σ the share of the work that must wait for others (contention), κ what users cost each
other by being there at all (coherency). With κ above 0 throughput has a peak.

Fitted by least squares on logarithms, weighed by each figure's error. Intervals come from resampling residuals, which
the law's own misfit is part of; a law that misses a measured step by a tenth says so.
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
_TIMES: Final = 300
_POOR: Final = 0.1
_LEAST_ERROR: Final = 0.005


@dataclass(frozen=True, slots=True)
class UslFit:
    """The law's parameters for one server.

    Args:
        single: λ, requests a second of one user.
        contention: σ.
        coherency: κ.
        peak_users: number of users with the highest throughput; unbounded ends and None if throughput only grows.
        peak_rate: highest throughput of the measured numbers of users, requests a second, by the law.
        misfit: largest relative distance between the law and a measured step.
        users: fewest and most users measured: where the law was fitted.
        warnings: what a reader must know, one line each.
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
        """Requests a second of so many users."""
        assert self.single.center is not None
        assert self.contention.center is not None
        assert self.coherency.center is not None
        return usl(users, self.single.center, self.contention.center, self.coherency.center)


def usl(users: Floats, single: float, contention: float, coherency: float) -> Floats:
    """The law."""
    return single * users / (1 + contention * (users - 1) + coherency * users * (users - 1))


def fit_usl(users: Sequence[int], rates: Sequence[float], errors: Sequence[float], seed: int = 0) -> UslFit | None:
    """The law that fits measured throughput best.

    Args:
        users: numbers of users of the steps.
        rates: their throughput, requests a second.
        errors: relative standard errors of `rates`.
        seed: of the resampling.

    Returns:
        None with fewer than four steps: three parameters would fit them whatever they are.
    """
    if len(users) < 4:
        return None
    count, logs = np.array(users, np.float64), np.log(rates)
    weights = 1 / np.hypot(errors, _LEAST_ERROR)
    best = _solve(count, logs, weights, np.array([logs[0], 0.1, 1e-3]))
    residuals = logs - np.log(_at(count, best))
    rng = generator(seed, Stream.RESAMPLING, 4)
    # Residuals of a fit are smaller than errors by the parameters that it spent.
    spread = np.sqrt(count.size / max(count.size - 3, 1))
    samples = np.array(
        [
            _solve(count, logs - residuals + spread * residuals * rng.choice((-1.0, 1.0), count.size), weights, best)
            for _ in range(_TIMES)
        ]
    )
    misfit = float(np.abs(np.expm1(-residuals)).max())
    warnings = []
    if misfit > _POOR:
        warnings.append(f"the law misses a measured step by {format_percent(misfit)}; trust the measured table instead")
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
    """The number of users where throughput is highest, N = sqrt((1 - σ) / κ)."""
    peaks = np.sqrt(np.maximum(1 - samples[:, 1], 0) / np.maximum(samples[:, 2], 1e-12))
    center = float(np.sqrt(max(1 - best[1], 0) / max(best[2], 1e-12)))
    if center > 10 * most:
        return Estimate.absent("peak_users", "throughput shows no peak within reach", confidence=CONFIDENCE)
    lo, hi = np.quantile(peaks, [0.05, 0.95])
    top = None if hi > 10 * most else max(float(hi), center)
    warnings = () if center <= most else ("beyond the numbers of users that were measured",)
    return Estimate("peak_users", center, min(float(lo), center), top, CONFIDENCE, samples.shape[0], warnings)


def _summary(metric: str, center: float, values: Floats) -> Estimate:
    lo, hi = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(metric, center, min(float(lo), center), max(float(hi), center), CONFIDENCE, values.size)
