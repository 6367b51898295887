"""Choosing the weight bits of every layer under a budget of bytes."""

import math

import numpy as np

from quantize_configs.arguments import instance, number
from quantize_configs.errors import InvalidInputError
from quantize_configs.keras3_bridge import as_tf_keras
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import WEIGHT_ATTRIBUTES
from quantize_configs.rewriting import as_quantizable
from quantize_configs.sensitivity import FULL_BITS, Sensitivity
from quantize_configs.weight_containers import PACKED

ACCOUNTINGS = ("file", "bits")
_TIE_BREAKER = 1e-9
"""Cost of a removed bit, so that bits are not given away where the loss does not tell."""


def assign_bits(
    model: keras.Model, sensitivity: Sensitivity, weight_bytes: float, accounting: str = "file"
) -> dict[str, int]:
    """Weight bits by layer, see `BitPolicy.from_budget`."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    if accounting not in ACCOUNTINGS:
        raise InvalidInputError(
            f"accounting must be one of {ACCOUNTINGS}. Received: {accounting!r}."
        )
    number("weight_bytes", weight_bytes, 1)
    instance("sensitivity", sensitivity, Sensitivity, "quantize_configs.sensitivity(model, data)")
    choices = [
        (name, bits, max(increase, 0.0) + _TIE_BREAKER * (FULL_BITS - bits))
        for name, measured in sensitivity.increases.items()
        for bits, increase in {**measured, FULL_BITS: 0.0}.items()
    ]
    model = as_quantizable(as_tf_keras(model))
    sizes = np.array(
        [layer_bytes(_layer(model, name), bits, accounting) for name, bits, _ in choices]
    )
    names = list(sensitivity.increases)
    one_each = np.array([[name == other for name, _, _ in choices] for other in names], float)
    smallest = sum(min(sizes[row > 0]) for row in one_each)
    if smallest > weight_bytes:
        raise InvalidInputError(
            f"The weights of {model.name!r} cannot fit into {weight_bytes:,.0f} bytes; with the "
            f"fewest bits measured they take {smallest:,.0f}. Allow at least that, or measure the "
            "sensitivity to fewer bits."
        )
    result = milp(
        np.array([cost for _, _, cost in choices]),
        integrality=np.ones(len(choices)),
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(one_each, 1, 1),
            LinearConstraint(sizes[None], -np.inf, weight_bytes),
        ],
    )
    if result.x is None:
        raise RuntimeError(f"scipy's milp found no assignment: {result.message}")
    chosen = np.round(result.x).astype(bool)
    return {name: bits for (name, bits, _), taken in zip(choices, chosen, strict=True) if taken}


def layer_bytes(layer: keras.layers.Layer, bits: int, accounting: str = "file") -> float:
    """Bytes of a layer's weight.

    Args:
      layer: Built Conv2D, DepthwiseConv2D or Dense.
      bits: Weight bits.
      accounting: "file" or "bits", see `BitPolicy.from_budget`.
    """
    shape = getattr(layer, WEIGHT_ATTRIBUTES[type(layer)]).shape
    count = math.prod(shape)
    if accounting == "bits":
        return count * bits / 8
    pointwise = isinstance(layer, keras.layers.Dense) or (
        type(layer) is keras.layers.Conv2D
        and (tuple(layer.kernel_size), tuple(layer.strides), layer.groups) == ((1, 1), (1, 1), 1)
    )
    for container, most_bits, divisor in PACKED:
        if pointwise and bits <= most_bits and shape[-2] % divisor == 0:
            return math.ceil(count * int(container.removeprefix("int")) / 8)
    return count


def _layer(model, name):
    try:
        return model.get_layer(name)
    except ValueError:
        raise InvalidInputError(
            f"The sensitivity is that of another model: {model.name!r} has no layer {name!r}."
        ) from None
