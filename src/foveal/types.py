"""Types of arrays that several rooms share."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""An array of floating-point numbers in double precision."""
Ints = NDArray[np.int64]
"""An array of whole numbers, such as labels or indices."""
Bools = NDArray[np.bool_]
"""An array of truth values, such as which predictions are correct."""
Pixels = NDArray[np.uint8]
"""An array of images, (N, H, W, C), with 8 bits a channel."""
Logits = NDArray[np.float32] | NDArray[np.float64]
"""The outputs of a network, (N, classes), before softmax."""
