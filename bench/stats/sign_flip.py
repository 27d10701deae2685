"""A sequential sign-flip test: exact whatever the noise, if the order within each pair was drawn at random.

Two arms are measured in pairs, one after the other, in random order. If the arms do not differ, an exchange of their
names changes the sign of each pair's difference and nothing else, so every pattern of signs is equally likely *given
the sizes of the differences*. Drift, autocorrelation and heavy tails affect only the sizes and do not bias the test (R.
Fisher's randomisation argument; E. Lehmann and J. Romano, *Testing Statistical Hypotheses*, chapter 15). The statistic
is Wilcoxon's sum of signed ranks, which limits the influence of an outlier.

There are several looks at the data. At each look the patterns that would have stopped the test at an earlier look are
removed, and the boundary is set so that the patterns stopped so far are at most the fraction of error spent so far (K.
Lan and D. DeMets, *Discrete sequential boundaries for clinical trials*, Biometrika 70, 1983, with the joint
distribution of the looks taken from the patterns themselves instead of a normal one).

Up to `GENERATORS` pairs all patterns are enumerated. Beyond that a subgroup of them is, and the test remains exact
(J. Hemerik and J. Goeman, *Exact testing with random permutations*, TEST 27, 2018): patterns that are products of
`GENERATORS` generators, on the first pairs all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.core.types import Floats

GENERATORS: Final = 12
_SEED: Final = 20240229


@dataclass(frozen=True, slots=True)
class SignFlipTest:
    """The result of the looks at K series.

    Args:
        crossed: for each series the index of the look at which it crossed its boundary, None if it never did.
        p: for each series the p-value of the last look by itself, one-sided, not corrected for the earlier looks.
    """

    crossed: tuple[int | None, ...]
    p: tuple[float, ...]


def sequential_sign_flip(values: Floats, looks: Sequence[int], spending: Floats) -> SignFlipTest:
    """Tests for each series whether its values tend to lie above zero, at several looks.

    Args:
        values: differences less the value under test, float64 `[n, K]`, one row a pair, in the order of time.
        looks: numbers of rows seen at each look, increasing, the last at most n.
        spending: float64 `[L, K]`, the chance of a false crossing that may be spent up to each look, not decreasing.

    Raises:
        ValueError: looks that do not increase or lie outside the data, shapes that do not fit, a value that is NaN.
    """
    steps = np.asarray(looks, np.int64)
    if not steps.size or (np.diff(steps, prepend=0) <= 0).any() or steps[-1] > len(values):
        raise ValueError(f"looks must increase from 1 to at most {len(values)}, not {list(looks)}")
    if spending.shape != (steps.size, values.shape[1]) or np.isnan(values).any():
        raise ValueError("spending needs a row a look and a column a series; values must be numbers")
    patterns = sign_patterns(int(steps[-1]))
    alive = np.ones((len(patterns), values.shape[1]), np.bool_)
    crossed: list[int | None] = [None] * values.shape[1]
    p = np.ones(values.shape[1])
    for look, size in enumerate(steps):
        # Ranks are multiples of a half: their sums are exact in 24 bits, and equal sums compare as equal.
        sums = patterns[:, :size] @ signed_ranks(values[:size]).astype(np.float32)
        p = np.asarray((sums >= sums[0]).mean(axis=0))
        allowed = np.floor(spending[look] * len(patterns) + 1e-9).astype(np.int64) - (~alive).sum(axis=0)
        for series in range(values.shape[1]):
            stopped = alive[:, series] & (sums[:, series] >= _boundary(sums[alive[:, series], series], allowed[series]))
            if stopped[0]:
                crossed[series] = look
            alive[stopped, series] = False
    return SignFlipTest(tuple(crossed), tuple(float(value) for value in p))


def _boundary(sums: NDArray[np.float32], allowed: int) -> float:
    """The smallest value that at most `allowed` of `sums` reach; infinity if none may."""
    if allowed <= 0:
        return np.inf
    if allowed >= sums.size:
        return -np.inf
    top = np.partition(sums, sums.size - allowed - 1)[sums.size - allowed - 1 :]
    # Equal sums stop together; the first is the smallest, one more than allowed.
    reached = top[top > top[0]]
    return float(reached.min()) if reached.size else np.inf


def signed_ranks(values: Floats) -> Floats:
    """Ranks of the sizes, 1 for the smallest, each with the sign of its value; float64 `[n, K]`, ranked by column.

    Equal sizes get their mean rank; zeros are ranked but do not contribute (J. Pratt, *Remarks on zeros and ties in the
    Wilcoxon signed rank procedures*, JASA 54, 1959).
    """
    sizes = np.abs(values)
    order = np.sort(sizes, axis=0)
    ranks = np.empty_like(sizes)
    for column in range(values.shape[1]):
        below, up_to = (np.searchsorted(order[:, column], sizes[:, column], side=side) for side in ("left", "right"))
        ranks[:, column] = (below + up_to + 1) / 2
    return np.asarray(ranks * np.sign(values))


@lru_cache(maxsize=32)
def _all_patterns(generators: int, size: int) -> NDArray[np.float32]:
    """All products of the generators' signs, float32 `[2**generators, size]`, the one that changes nothing first."""
    columns = [1 << bit for bit in range(min(generators, size))]
    draw = np.random.Generator(np.random.PCG64(_SEED))
    columns += draw.integers(1, 1 << generators, max(size - generators, 0)).tolist()
    parity = np.array([bin(number).count("1") % 2 for number in range(1 << generators)], np.int8)
    members = np.arange(1 << generators)
    return np.stack([1.0 - 2.0 * parity[members & column] for column in columns], axis=1, dtype=np.float32)


def sign_patterns(size: int) -> NDArray[np.float32]:
    """Patterns of signs on `size` pairs, float32 `[P, size]`: all of them up to `GENERATORS` pairs, then a subgroup."""
    if size <= GENERATORS:
        return _all_patterns(size, size)
    # In steps, so that the cache serves a growing number of pairs.
    return _all_patterns(GENERATORS, -(-size // 64) * 64)[:, :size]
