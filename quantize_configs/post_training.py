"""Better integers without training: steps and rounding by what layers put out, and their biases.

The float network and the quantized one run side by side on the same images, layer by layer in
order, so that each layer also makes up for what the layers before it have lost. Sources: AdaRound
(Nagel et al., ICML 2020), BRECQ (Li et al., ICLR 2021), bias correction (Nagel et al., ICCV 2019).
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from quantize_configs.folding import normalization_as_affine
from quantize_configs.keras_backend import keras
from quantize_configs.layer_reconstruction import (
    Reconstruction,
    as_kernel,
    as_matrices,
    can_be_reconstructed,
)
from quantize_configs.layer_roles import MERGING_LAYERS, Role
from quantize_configs.model_graph import LayerCall
from quantize_configs.weight_steps import largest_steps, least_error_steps
from quantize_configs.wrappers import WrappedModel

BATCH = 16


def improve(
    model: keras.Model,
    images: list[np.ndarray],
    *,
    learn_rounding: bool,
    progress: Callable[[int, int, str], None],
) -> None:
    """Corrects the biases of a calibrated quantized model, and learns its rounding.

    Args:
      model: Result of `quantize` whose ranges are known; modified in place.
      images: For each input of the model, float32 [N, ...].
      learn_rounding: Whether steps and codes of weights change too. The float weights are then
        replaced by what their codes stand for.
      progress: Called with (layers done, layers, name) after each layer with a weight.
    """
    wrapped = WrappedModel(model, frozen=True)
    calls = wrapped.graph.calls
    exact: dict[str, np.ndarray] = {}
    ours: dict[str, np.ndarray] = {}
    unread = {call.name: len(wrapped.graph.readers(call.name)) for call in calls}
    names = [tensor._keras_history.layer.name for tensor in model.inputs]
    count = sum(call.role is Role.LINEAR for call in calls)
    done = 0
    for call in calls:
        if call.role is Role.INPUT:
            ours[call.name] = exact[call.name] = images[names.index(call.name)]
        elif call.role is Role.LINEAR and wrapped.float_bits(call.name) is None:
            source = call.inputs[0]
            exact[call.name], ours[call.name] = _improve_layer(
                wrapped, call, exact[source], ours[source], learn_rounding
            )
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


def _run(call: LayerCall, values: dict[str, np.ndarray], function: Callable) -> np.ndarray:
    """What a layer makes of tensors, a few images at a time."""
    arguments = [values[name] for name in call.inputs]
    results = []
    for start in range(0, len(arguments[0]), BATCH):
        part = [tf.constant(argument[start : start + BATCH]) for argument in arguments]
        results.append(
            function(part if isinstance(call.layer, MERGING_LAYERS) else part[0]).numpy()
        )
    return np.concatenate(results)


def _improve_layer(wrapped, call, exact, ours, learn_rounding):
    """(outputs of the float network, of the quantized one) of a linear layer, which is improved."""
    layer, config = call.layer, call.owner.quantize_config
    weight, quantizer = wrapped.weight(call.name), wrapped.weight_quantizer(call.name)
    variables = wrapped.weight_variables(call.name)
    kernel = weight.numpy()

    def outputs(x, values):
        def run(part):
            config.set_quantize_weights(layer, [tf.constant(values)])
            return layer.call(part)

        return _run(call, {call.inputs[0]: x}, run)

    expected = outputs(exact, kernel)
    if not can_be_reconstructed(layer):
        return expected, outputs(ours, quantizer(weight, False, variables).numpy())
    form = Reconstruction.of(layer, kernel, ours, exact)
    if learn_rounding:
        _learn_codes(form, layer, weight, quantizer, variables, _gain_signs(wrapped, call))
    quantized = quantizer(weight, False, variables).numpy()
    offset = form.offset(as_matrices(layer, quantized).astype(np.float64))
    offset = offset.astype(np.float32)
    shifted = _correct_bias(wrapped, call, offset)
    # The normalization that took the offset up does so in both networks.
    expected = expected - offset if shifted == "normalization" else expected
    return expected, outputs(ours, quantized)


def _gain_signs(wrapped: WrappedModel, call: LayerCall) -> np.ndarray | None:
    """Signs of the gains of a folded normalization; None without one."""
    reader = wrapped.graph.sole_reader(call.name)
    if reader is None or reader.role is not Role.NORMALIZATION:
        return None
    return np.sign(normalization_as_affine(reader.layer, 0.0)[0])


def _learn_codes(form, layer, weight, quantizer, variables, signs) -> None:
    """Chooses the steps of least output error among several, then the codes."""
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
    best_error, best_steps = np.full((forms, 1, width), np.inf), np.ones((forms, 1, width))
    for candidate in candidates:
        steps = np.maximum(np.abs(candidate), np.finfo(np.float32).eps)
        steps = np.broadcast_to(steps, kernel.shape)
        steps = as_matrices(layer, steps)[:, :1]
        codes = np.clip(np.rint(matrices / steps), lowest[:, None], qmax)
        error = form.errors(codes * steps)[:, None]
        if not quantizer.channel_axes:
            error = np.full_like(error, error.sum())
        best_steps = np.where(error < best_error, steps, best_steps)
        best_error = np.minimum(error, best_error)
    best_steps = best_steps.astype(np.float32).astype(np.float64)
    codes = form.best_codes(best_steps, matrices, lowest, qmax)
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


def _correct_bias(wrapped: WrappedModel, call: LayerCall, offset: np.ndarray) -> str | None:
    """Adds an offset to what a linear layer puts out; says where: "bias", "normalization", None."""
    if call.layer.use_bias:
        call.layer.bias.assign_add(offset)
        return "bias"
    reader = wrapped.graph.sole_reader(call.name)
    if reader is not None and reader.role is Role.NORMALIZATION:
        reader.layer.moving_mean.assign_sub(offset)
        return "normalization"
    return None
