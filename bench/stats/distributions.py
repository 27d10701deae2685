"""Quantiles and tails of standard distributions, by `scipy.special`.

`scipy.stats` has the same functions and takes a second to import, which every process of a run would pay.
"""

from scipy import special


def normal_quantile(p: float) -> float:
    """The value that a standard normal variable stays below with probability `p`."""
    return float(special.ndtri(p))


def student_quantile(p: float, freedom: float) -> float:
    """The value that a variable of Student's distribution, of `freedom` > 0, stays below with probability `p`."""
    return float(special.stdtrit(freedom, p))


def student_tail(value: float, freedom: float) -> float:
    """Probability that a variable of Student's distribution, of `freedom` > 0, is above `value`."""
    return float(special.stdtr(freedom, -value))


def beta_quantile(p: float, a: float, b: float) -> float:
    """The value that a variable of the beta distribution, `a` and `b` > 0, stays below with probability `p`."""
    return float(special.betaincinv(a, b, p))


def binomial_tail(hits: int, size: int, p: float) -> float:
    """Probability of more than `hits` of `size` independent events of probability `p`."""
    return float(special.bdtrc(hits, size, p))


def poisson_bounds(events: int, confidence: float) -> tuple[float, float]:
    """Exact interval of the expected number of a Poisson process's events after so many, 1 or more (F. Garwood,
    Biometrika 28, 1936)."""
    tail = (1 - confidence) / 2
    return float(special.gammaincinv(events, tail)), float(special.gammaincinv(events + 1, 1 - tail))
