"""Better integers without training: steps and rounding by what layers put out, and their biases.

The float network and the quantized one run side by side on the same images, layer by layer in
order, so that each layer also makes up for what the layers before it have lost. Sources: AdaRound
(Nagel et al., ICML 2020), BRECQ (Li et al., ICLR 2021), bias correction (Nagel et al., ICCV 2019).
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from quantize_configs.bias_corrections import add_offset
from quantize_configs.folding import normalization_as_affine
from quantize_configs.keras_backend import keras
from quantize_configs.layer_reconstruction import (
    Reconstruction,
    as_kernel,
    as_matrices,
    can_be_reconstructed,
)
from quantize_configs.layer_roles import MERGING_LAYERS, Role
from quantize_configs.linear_products import products_of
from quantize_configs.model_graph import LayerCall
from quantize_configs.residual_sums import lacking_in_sum
from quantize_configs.weight_steps import largest_steps, least_error_steps
from quantize_configs.wrappers import WrappedModel

CHUNK = 1 << 23
"""Values of a tensor that a layer reads at a time."""
MOST_BITS = 8
"""With which rounding is learned: 8 bits gain little for themselves, but make up for others."""
STEP_ROUNDS = 2
"""How often the steps follow the codes, and the codes the steps."""


def improve(
    model: keras.Model,
    images: list[np.ndarray],
    *,
    learn_rounding: bool,
    progress: Callable[[int, int, str], None],
) -> dict[str, np.ndarray]:
    """Corrects the biases of a calibrated quantized model, and learns its rounding.

    Args:
      model: Result of `quantize` whose ranges are known; modified in place.
      images: For each input of the model, [N, ...] of any type.
      learn_rounding: Whether steps and codes of weights change too. The float weights are then
        replaced by what their codes stand for.
      progress: Called with (layers done, layers, name) after each layer with a weight.

    Returns:
      By layer, what was added to its output, float32 [channels].
    """
    wrapped = WrappedModel(model, frozen=True)
    calls = wrapped.graph.calls
    exact: dict[str, np.ndarray] = {}
    ours: dict[str, np.ndarray] = {}
    offsets: dict[str, np.ndarray] = {}
    unread = {call.name: len(wrapped.graph.readers(call.name)) for call in calls}
    given = {
        tensor._keras_history.layer.name: np.asarray(values, tensor.dtype.as_numpy_dtype)
        for tensor, values in zip(model.inputs, images, strict=True)  # as Keras casts them
    }
    count = sum(call.role is Role.LINEAR for call in calls)
    done = 0
    for call in calls:
        if call.role is Role.INPUT:
            ours[call.name] = exact[call.name] = given[call.name]
        elif call.role is Role.LINEAR and wrapped.is_quantized(call.name):
            source = call.inputs[0]
            lacking = lacking_in_sum(wrapped.graph, call, exact, ours) if learn_rounding else None
            exact[call.name], ours[call.name], offset = _improve_layer(
                wrapped, call, (exact[source], ours[source]), lacking, learn_rounding
            )
            if offset is not None:
                offsets[call.name] = offset
        else:
            exact[call.name] = _run(call, exact, call.layer.call)
            ours[call.name] = _run(call, ours, lambda x, owner=call.owner: owner(x, training=False))
        if call.role is Role.LINEAR:
            done += 1
            progress(done, count, call.name)
        for name in call.inputs:
            unread[name] -= 1
            if not unread[name]:
                del exact[name], ours[name]
    return offsets


def _run(call: LayerCall, values: dict[str, np.ndarray], function: Callable) -> np.ndarray:
    """What a layer makes of tensors, a few images at a time."""
    arguments = [values[name] for name in call.inputs]
    results = []
    size = max(1, CHUNK // math.prod(arguments[0].shape[1:]))
    for start in range(0, len(arguments[0]), size):
        part = [tf.constant(argument[start : start + size]) for argument in arguments]
        results.append(
            function(part if isinstance(call.layer, MERGING_LAYERS) else part[0]).numpy()
        )
    return np.concatenate(results)


def _improve_layer(wrapped, call, inputs, lacking, learn_rounding):
    """Improves a linear layer.

    Args:
      wrapped: The model.
      call: Of the layer.
      inputs: In the float network and in the quantized one.
      lacking: See `lacking_in_sum`.
      learn_rounding: See `improve`.

    Returns:
      Outputs of the float network, those of the quantized one, and what was added to the latter;
      None where nothing can be.
    """
    layer, (exact, ours) = call.layer, inputs
    weight, quantizer = wrapped.weight(call.name), wrapped.weight_quantizer(call.name)
    variables = wrapped.weight_variables(call.name)
    kernel = weight.numpy()
    products = products_of(layer)

    def sums(x, values):
        return _run(call, {call.inputs[0]: x}, lambda part: products(part, values))

    wanted = sums(exact, tf.constant(kernel))
    (bits,) = quantizer.bit_widths.choices
    if learn_rounding and bits <= MOST_BITS and can_be_reconstructed(layer):
        form = Reconstruction.of(layer, kernel, ours, exact, lacking)
        _learn_codes(form, layer, weight, quantizer, variables, _gain_signs(wrapped, call))
    found = sums(ours, quantizer(weight, False, variables))
    axes = tuple(range(found.ndim - 1))
    aim = wanted if lacking is None else wanted + lacking
    lost = np.mean(aim, axes, np.float64) - np.mean(found, axes, np.float64)
    offset = np.asarray(lost, np.float32)
    bias = layer.bias.numpy() if layer.use_bias else np.float32(0.0)
    place = add_offset(wrapped, call, offset)
    if place == "normalization":  # it takes the offset away from both networks
        wanted -= offset
    new_bias = bias + offset if place == "bias" else bias
    finish = layer.activation or (lambda x: x)
    found, wanted = (finish(x + b) for x, b in ((found, new_bias), (wanted, bias)))
    return np.asarray(wanted), np.asarray(found), None if place is None else offset


def _gain_signs(wrapped: WrappedModel, call: LayerCall) -> np.ndarray | None:
    """Signs of the gains of a folded normalization; None without one."""
    reader = wrapped.graph.sole_reader(call.name)
    if reader is None or reader.role is not Role.NORMALIZATION:
        return None
    return np.sign(normalization_as_affine(reader.layer, 0.0)[0])


def _learn_codes(form, layer, weight, quantizer, variables, signs) -> None:
    """Chooses steps and codes with the least error of the outputs, from several starts."""
    kernel = weight.numpy().astype(np.float64)
    (bits,) = quantizer.bit_widths.choices
    qmin, qmax = quantizer.limits(bits)
    matrices = as_matrices(layer, kernel)
    forms, _, width = matrices.shape
    lowest = np.full((forms, width), qmin)
    if signs is not None:  # folding turns these rows over, and the lowest code has no counterpart
        lowest = np.where(signs.reshape(forms, width) < 0, -qmax, qmin)
    importance = np.diagonal(form.covariance, axis1=1, axis2=2)[:, :, None]
    importance = as_kernel(layer, np.broadcast_to(importance, matrices.shape), kernel.shape)
    candidates = [
        np.asarray(variables["step"], np.float64)[0],
        largest_steps(kernel, quantizer, bits),
        least_error_steps(kernel, quantizer, bits),
        least_error_steps(kernel, quantizer, bits, importance),
    ]
    shared = not quantizer.channel_axes
    best_error = np.full((forms, 1, width), np.inf)
    best_steps, best_codes = np.ones((forms, 1, width)), np.zeros(matrices.shape)
    for candidate in candidates:
        steps = np.maximum(np.abs(candidate), np.finfo(np.float32).eps)
        steps = as_matrices(layer, np.broadcast_to(steps, kernel.shape))[:, :1]
        codes = form.best_codes(steps, matrices, lowest, qmax)
        for _ in range(STEP_ROUNDS):
            steps = form.best_steps(codes, steps, shared).astype(np.float32).astype(np.float64)
            codes = form.best_codes(steps, codes * steps, lowest, qmax)
        error = form.errors(codes * steps)[:, None]
        if shared:
            error = np.full_like(error, error.sum())
        better = error < best_error
        best_steps, best_codes = (
            np.where(better, *pair) for pair in ((steps, best_steps), (codes, best_codes))
        )
        best_error = np.minimum(error, best_error)
    codes = best_codes
    weight.assign(as_kernel(layer, codes * best_steps, kernel.shape))
    full = as_kernel(layer, np.broadcast_to(best_steps, matrices.shape), kernel.shape)
    shape = variables["step"].shape
    if quantizer.channel_axes:
        kept = tuple(
            slice(None) if size == full.shape[axis] and size > 1 else slice(0, 1)
            for axis, size in enumerate(shape[1:])
        )
        variables["step"].assign(full[kept][None])
    else:
        variables["step"].assign([full.flat[0]])
