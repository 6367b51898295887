"""Outputs of a layer as a quadratic form, and the codes with the least error."""

import numpy as np
import pytest
import tensorflow as tf

from quantize_configs import layer_reconstruction
from quantize_configs.keras_backend import keras
from quantize_configs.layer_reconstruction import Reconstruction, as_matrices, patches

layers = keras.layers


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("size", "strides", "dilation"), [(3, 1, 1), (5, 2, 1), (3, 1, 2)])
@pytest.mark.parametrize("kind", [layers.Conv2D, layers.DepthwiseConv2D])
def test_patches_times_weights_are_the_outputs(kind, size, strides, dilation, padding):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(2, 11, 10, 3)).astype(np.float32)
    options = {"strides": strides, "dilation_rate": dilation, "padding": padding}
    count = {"filters": 4} if kind is layers.Conv2D else {"depth_multiplier": 2}
    layer = kind(kernel_size=size, use_bias=False, **count, **options)
    expected = layer(x).numpy()
    kernel = layer.get_weights()[0]
    rng = np.random.default_rng(0)
    (rows,), _ = patches(layer, kernel.shape, [x], 10**6, rng)
    found = rows @ as_matrices(layer, kernel)  # [forms, places, outputs]
    found = found.transpose(1, 0, 2).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    (few, same), places = patches(layer, kernel.shape, [x, x], 7, rng)
    assert few.shape[1] == len(places) == 7
    np.testing.assert_array_equal(few, same)
    found = (few @ as_matrices(layer, kernel)).transpose(1, 0, 2).reshape(7, -1)
    np.testing.assert_allclose(found, expected.reshape(-1, found.shape[1])[places], atol=1e-5)


def form(inputs, outputs, seed=0):
    """A layer whose inputs hang together, and its weights."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(inputs, inputs))
    weights = rng.normal(size=(1, inputs, outputs))
    covariance = (mixing @ mixing.T / inputs + 0.1 * np.eye(inputs))[None]
    return Reconstruction(covariance, covariance @ weights), weights


def test_no_other_code_is_better(monkeypatch):
    monkeypatch.setattr(layer_reconstruction, "PASSES", 50)
    quadratic, weights = form(40, 5)
    steps = np.abs(weights).max(1, keepdims=True) / 7
    codes = quadratic.best_codes(steps, weights, -8, 7)
    assert np.abs(codes).max() <= 8
    least = quadratic.errors(codes * steps)
    assert (least < quadratic.errors(np.clip(np.rint(weights / steps), -8, 7) * steps)).all()
    for place in range(codes.shape[1]):
        for change in (-1, 1):
            other = codes.copy()
            other[:, place] = np.clip(other[:, place] + change, -8, 7)
            assert (quadratic.errors(other * steps) >= least - 1e-4).all()


def test_blocks_change_nothing(monkeypatch):
    quadratic, weights = form(70, 4)
    steps = np.abs(weights).max(1, keepdims=True) / 3
    codes = quadratic.best_codes(steps, weights, -4, 3)
    monkeypatch.setattr(layer_reconstruction, "BLOCK", 1)
    np.testing.assert_array_equal(codes, quadratic.best_codes(steps, weights, -4, 3))


@pytest.mark.parametrize("shared", [False, True])
def test_steps_with_the_least_error(shared):
    quadratic, weights = form(20, 3)
    steps = np.broadcast_to(np.abs(weights).max() / 7, (1, 1, 3))
    codes = np.rint(weights / steps)
    found = quadratic.best_steps(codes, steps, shared)
    assert len(np.unique(found)) == (1 if shared else 3)
    least = quadratic.errors(codes * found).sum()
    for factor in (0.98, 0.999, 1.001, 1.02):
        assert quadratic.errors(codes * found * factor).sum() > least
    nothing = quadratic.best_steps(0 * codes, steps, shared)
    np.testing.assert_array_equal(nothing, steps)


def test_the_form_is_the_error_of_the_outputs():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    x_float = x + 0.1 * rng.normal(size=x.shape).astype(np.float32)
    layer = layers.Dense(3)
    layer(x)
    kernel = layer.get_weights()[0]
    quadratic = Reconstruction.of(layer, kernel, x, x_float)
    errors = []
    for factor in (1.0, 0.9):
        lost = x @ (factor * kernel) - tf.matmul(x_float, kernel).numpy()
        damping = 6 / 300 * np.trace(np.cov(x.T, bias=True)) / 6
        of_weights = damping * np.sum((factor * kernel - kernel) ** 2, 0)
        errors.append(np.var(lost, 0) + of_weights)
    found = [quadratic.errors(factor * kernel[None]).ravel() for factor in (1.0, 0.9)]
    np.testing.assert_allclose(found[1] - found[0], errors[1] - errors[0], rtol=1e-3, atol=1e-4)
