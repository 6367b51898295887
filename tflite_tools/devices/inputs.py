"""What a model reads while it is measured."""

from typing import Any

import numpy as np


def fill_inputs(interpreter: Any) -> None:
    """Gives a LiteRT interpreter random inputs: zeros would flatter kernels that skip them."""
    rng = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        shape, dtype = tuple(details["shape"]), np.dtype(details["dtype"])
        if dtype.kind == "f":
            values = rng.normal(size=shape).astype(dtype)
        else:
            values = rng.integers(0, 100, shape).astype(dtype)
        interpreter.set_tensor(details["index"], values)
