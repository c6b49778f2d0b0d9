"""The array type of every signature: float32, float64, or objects that are Fractions; shapes stand in the docstrings."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
