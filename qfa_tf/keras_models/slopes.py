"""ReLUs with a slope for negative values."""

import numpy as np

from qfa_tf.keras_models.site_values import SiteValues
from qfa_tf.keras_models.writer import NetworkWriter
from qfa_tf.network import Function, Sum
from quantize_configs.layer_roles import UnsupportedLayerError
from quantize_configs.layers.kinds import LayerCall


def write_leaky_relu(writer: NetworkWriter, call: LayerCall, slope: float) -> None:
    """One slope for all channels: a function."""
    writer.node(Function, call, activation="leaky_relu", slope=slope)


def read_prelu(writer: NetworkWriter, call: LayerCall) -> None:
    """Trained slopes a by channel: a x + (1 - a) relu(x), with two sites that multiply channels."""
    slopes = call.layer.alpha.numpy()
    shape = call.owner.input_shape[1:]
    if len(shape) != 3 or any(size != 1 for size in slopes.shape[:-1]):
        raise UnsupportedLayerError(
            f"Layer {call.name!r} (PReLU) has slopes of the shape {slopes.shape} for {shape}; a "
            "supernet has one for each channel of a map: PReLU(shared_axes=[1, 2])."
        )
    slopes = np.broadcast_to(slopes.reshape(-1), shape[-1:]).astype(np.float32)
    positive = writer.inner(Function, f"{call.name}.positive", call, activation="relu")
    parts = []
    for name, factors, source in (
        (f"{call.name}.slope", slopes, writer.source(call)),
        (f"{call.name}.rest", 1.0 - slopes, positive),
    ):
        values = SiteValues(factors.reshape(1, 1, -1, 1), None, None)
        options = {"kind": "depthwise", "width": None, "normalization": False}
        writer.site(call, name, [], values, source=source, **options)
        parts.append(name)
    writer.node(Sum, call, *parts)
