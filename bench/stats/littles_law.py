"""Little's law (J. Little, *A proof for the queuing formula L = λW*, Operations Research 9, 1961)."""


def little_residual(in_flight: float, rate: float, time: float) -> float | None:
    """The relative residual of L = λW: 0 where it holds, 0.1 where it leaves a tenth of L unexplained.

    Args:
        in_flight: mean number in the system, L.
        rate: arrivals or departures a second, λ.
        time: mean time in the system, seconds, W.

    Returns:
        (L - λW) / L; None where nothing was in flight.
    """
    return (in_flight - rate * time) / in_flight if in_flight > 0 else None
