"""Queues with known truth, for simulation."""

import numpy as np

from bench.core.types import Floats


def single_server(rng: np.random.Generator, load: float, size: int) -> Floats:
    """Sojourn times of a stationary M/M/1 queue with mean service time 1: exponential with mean 1 / (1 - load)."""
    lead = 5000
    gaps, service = rng.exponential(1 / load, size + lead), rng.exponential(1.0, size + lead)
    walk = np.concatenate(([0.0], np.cumsum(service[:-1] - gaps[1:])))
    return np.asarray((walk - np.minimum.accumulate(walk) + service)[lead:])
