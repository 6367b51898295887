"""What prepare_for_deployment moves: 8-bit scales and biases, and nothing else."""

import numpy as np
import pytest

from quantize_configs import (
    BitPolicy,
    UncalibratedError,
    calibrate,
    prepare_for_deployment,
    quantize,
    weight_containers,
)
from quantize_configs.deployment import TIE_NUDGE, WIDENING
from quantize_configs.folding import fold_linear
from quantize_configs.keras_backend import keras
from quantize_configs.saving import named_weights
from quantize_configs.wrappers import WrappedModel

layers = keras.layers
LINEAR = ("plain", "centred", "uncentred", "biased")
READERS = {"centred_relu": "uncentred.input", "uncentred_bn": "biased.input"}
OTHERS = ("plain_relu", "biased")
RANDOMIZED = ("theta", "beta", "bias", "mean", "gamma")


def net():
    """8-bit tensors that one quantizer reads through a pool or Flatten, and others; gains of 0.

    The former are outputs as well, without which they would need no 8 bits.
    """
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 4), name="images")
    x = layers.Conv2D(8, 1, use_bias=False, activation="relu", name="plain")(images)
    x = layers.ReLU(name="plain_relu")(layers.Add(name="sum")([x, x]))
    x = layers.AveragePooling2D(name="pool")(x)
    x = layers.Conv2D(8, 3, padding="same", name="centred")(x)
    first = layers.ReLU(name="centred_relu")(layers.BatchNormalization(name="centred_bn")(x))
    x = layers.MaxPooling2D(name="max_pool")(first)
    x = layers.Conv2D(8, 1, name="uncentred")(x)
    second = layers.BatchNormalization(center=False, name="uncentred_bn")(x)
    x = layers.Dense(5, name="biased")(layers.Flatten(name="flatten")(second))
    return keras.Model(images, [x, first, second])


class Prepared:
    """A model and its values before and after one and two preparations."""

    def __init__(self, weight_container):
        self.images = np.random.default_rng(0).normal(size=(64, 8, 8, 4)).astype(np.float32)
        policy = BitPolicy((8, 8), {"uncentred": (2, 4), "biased": (4, 5)})
        self.model = quantize(net(), policy)
        self._randomize()
        calibrate(self.model, np.split(self.images, 4))
        self.wrapped = WrappedModel(self.model)
        self.snapshots = [self._snapshot()]
        for _ in range(2):
            prepare_for_deployment(self.model, weight_container)
            self.snapshots.append(self._snapshot())

    def _randomize(self):
        generator = np.random.default_rng(1)
        for name, weight in named_weights(self.model).items():
            if any(role in name.rsplit("/", 1)[-1] for role in RANDOMIZED):
                weight.assign(weight + generator.normal(0, 0.3, weight.shape))
        for name in ("centred_bn", "uncentred_bn"):
            gamma = self.model.get_layer(f"quant_{name}").layer.gamma
            gamma.assign([0.0, -1.0, *gamma.numpy()[2:]])

    def _snapshot(self):
        values = {name: weight.numpy() for name, weight in named_weights(self.model).items()}
        grids = {name: self.wrapped.activation_grid(name) for name in (*READERS, *OTHERS)}
        return values, grids, self.model(self.images)[0].numpy()


@pytest.fixture(scope="module", params=["auto", "int8"])
def prepared(request):
    return Prepared(request.param), request.param


def test_scales_read_by_a_quantizer_become_odd_256ths_of_its_step(prepared):
    prepared, _ = prepared
    for name, reader in READERS.items():
        before, grid = (prepared.snapshots[turn][1][name] for turn in (0, 1))
        ratio = 256 * grid[0] / prepared.wrapped.activation_grid(reader)[0]
        k = round(ratio)
        assert k % 2 == 1
        nudge = 1 if grid[1] < 128 else -1
        np.testing.assert_allclose(ratio / k - 1, nudge * TIE_NUDGE, rtol=0.1)
        assert before[0] <= grid[0] * (1 + 2 * TIE_NUDGE) <= before[0] * (1 + 2.1 / (k - 2))


def test_other_8_bit_scales_are_widened_by_the_documented_part(prepared):
    prepared, _ = prepared
    for name in OTHERS:
        before, grid = (prepared.snapshots[turn][1][name] for turn in (0, 1))
        np.testing.assert_allclose(grid[0] / before[0] - 1, WIDENING, rtol=0.01)
        assert grid[1] == before[1]


def test_biases_are_whole_units_of_the_accumulator(prepared):
    prepared, container = prepared
    for name in LINEAR:
        folded = fold_linear(prepared.wrapped, prepared.wrapped.graph.by_name[name])
        chosen = weight_containers.choose(folded, container)
        units = folded.bias / weight_containers.bias_units(folded, chosen)
        np.testing.assert_allclose(units, np.round(units), atol=0.05, err_msg=name)
        if name != "plain":
            assert np.max(np.abs(units)) > 10


def test_only_ranges_and_biases_move_and_the_output_stays_close(prepared):
    prepared, _ = prepared
    (before, _, outputs), (after, _, moved_outputs), _ = prepared.snapshots
    moved = {name for name, value in after.items() if not np.array_equal(value, before[name])}
    kinds = {name.rsplit("/", 1)[-1].removesuffix(":0") for name in moved}
    assert kinds <= {"output_range_low", "output_range_high", "beta", "moving_mean", "bias"}
    assert {"output_range_high", "beta", "moving_mean", "bias"} <= kinds
    assert 0 < np.mean(np.abs(moved_outputs - outputs)) < 0.05 * np.std(outputs)


def test_again_changes_next_to_nothing(prepared):
    prepared, _ = prepared
    _, (once, _, outputs), (twice, _, outputs_again) = prepared.snapshots
    for name, value in twice.items():
        assert np.isfinite(value).all()
        np.testing.assert_allclose(value, once[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert np.mean(np.abs(outputs_again - outputs)) < 0.01 * np.std(outputs)


def test_uncalibrated_and_float_models_are_refused():
    model = net()
    with pytest.raises(ValueError, match="'plain' is not quantized"):
        prepare_for_deployment(model)
    with pytest.raises(UncalibratedError, match=r"'plain.input' has no range yet.*calibrate"):
        prepare_for_deployment(quantize(model, BitPolicy()))
