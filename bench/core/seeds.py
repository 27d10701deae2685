"""Named random streams of one seed: draws from one stream do not change another stream.

MLPerf LoadGen does the same with its separate seeds for the schedule, the samples and the accuracy log.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The streams. The numbers are part of the run format: a new stream gets a new number, and none is reused."""

    ARRIVALS = 1
    WARMUP = 2
    SENTENCES = 3
    CHECKS = 4
    ORDER = 5
    RESAMPLING = 6


def generator(seed: int, stream: Stream, *parts: int) -> np.random.Generator:
    """The random generator of one stream.

    Args:
        seed: the run's seed, 0 or more.
        stream: what will be drawn.
        parts: further indexes, for example a worker's, each 0 or more.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(int(stream), *parts))))
