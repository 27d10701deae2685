"""Arrival rates that change linearly between knots, their integral, and its inverse.

A process of unit rate becomes one of rate r(t) by mapping its events through the inverse of the integral of r (time
rescaling; Çinlar, *Introduction to Stochastic Processes*, 1975, section 4.7). Evenly spaced events become an evenly
spaced schedule, a Poisson process becomes an inhomogeneous Poisson process.
"""

from dataclasses import dataclass

import numpy as np

from bench.core.types import Floats


@dataclass(frozen=True)
class RateProfile:
    """A piecewise linear rate.

    Args:
        starts: when each piece begins, float64 `[K]`, seconds, increasing from 0.
        first: rate at the start of each piece, float64 `[K]`, requests/s, 0 or more.
        last: rate at the end of each piece, float64 `[K]`.
        end: when the last piece ends, seconds.
    """

    starts: Floats
    first: Floats
    last: Floats
    end: float

    @property
    def _lengths(self) -> Floats:
        return np.diff(np.append(self.starts, self.end))

    @property
    def total(self) -> float:
        """Expected events from 0 to `end`."""
        return float(np.sum((self.first + self.last) / 2 * self._lengths))

    def rate(self, times: Floats) -> Floats:
        """The rate at `times`, requests/s; 0 outside the profile, and at a jump the later piece's."""
        piece = np.clip(np.searchsorted(self.starts, times, side="right") - 1, 0, None)
        into = (times - self.starts[piece]) / self._lengths[piece]
        rate = self.first[piece] + (self.last[piece] - self.first[piece]) * into
        return np.where((times >= 0) & (times < self.end), rate, 0.0)

    def inverse(self, events: Floats) -> Floats:
        """When the expected number of events reaches `events`, each of which lies in 0 to `total`, seconds."""
        lengths = self._lengths
        passed = np.concatenate(([0.0], np.cumsum((self.first + self.last) / 2 * lengths)))
        piece = np.clip(np.searchsorted(passed, events, side="right") - 1, 0, len(self.starts) - 1)
        into = np.maximum(events - passed[piece], 0.0)
        start, slope = self.first[piece], ((self.last - self.first) / lengths)[piece]
        # The root of slope/2 t² + start t = into, in the form that is stable and valid for slope 0.
        root = np.sqrt(np.maximum(start * start + 2 * slope * into, 0.0))
        divisor = start + root
        offset = np.divide(2 * into, divisor, out=np.zeros_like(into), where=divisor > 0)
        return np.asarray(self.starts[piece] + np.minimum(offset, lengths[piece]))
