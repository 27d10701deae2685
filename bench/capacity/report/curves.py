"""The rates at which the curves of the model are drawn."""

import numpy as np

from bench.capacity.model.capacity_model import CapacityModel
from bench.core.types import Floats


def fine_rates(model: CapacityModel, count: int) -> Floats:
    """`count` rates over the model's tables, and the highest that it covers, requests/s, increasing."""
    return np.union1d(np.linspace(model.rates[0], model.rates[-1], count), model.valid[1])
