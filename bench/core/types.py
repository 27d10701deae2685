"""Types that all parts share."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""An array of double-precision numbers."""
