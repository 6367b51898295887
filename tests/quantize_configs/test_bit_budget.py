"""Sensitivity of layers, and policies found under a budget."""

import itertools

import numpy as np
import pytest
import small_nets
from hypothesis import given, settings
from hypothesis import strategies as st

from quantize_configs import BitPolicy, Sensitivity, quantize, sensitivity
from quantize_configs.bit_assignment import layer_bytes
from quantize_configs.keras_backend import keras
from quantize_configs.sensitivity import rounded

layers = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def three_layers():
    """A 3x3 convolution, a packable 1x1 one and a dense layer: 72, 32 and 40 weights."""
    return keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.Conv2D(4, 3, padding="same", name="conv"),
            layers.Conv2D(8, 1, name="pointwise"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, name="dense"),
        ],
        name="three",
    )


def test_a_layer_that_matters_is_ranked_above_one_that_does_not():
    keras.utils.set_random_seed(0)
    model = small_nets.sequential()
    small_nets.compile_and_fit(model, 4)
    logits = model.get_layer("logits")
    before = model.get_weights()
    images, labels = small_nets.task(96)
    data = [(images[:48], labels[:48]), (images[48:], labels[48:])]
    result = sensitivity(model, data)
    assert set(result.increases) == {"conv", "logits"}
    assert all(set(measured) == {2, 3, 4} for measured in result.increases.values())
    increases = result.increases["logits"]
    assert max(increases.values()) > abs(increases[4])
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)
    logits.kernel.assign(np.where(np.arange(3) == 0, 0.5, -0.5) * np.ones_like(before[-2]))
    assert dict(sensitivity(model, data).ranking())["logits"] == pytest.approx(0.0, abs=1e-4)
    assert "increase per bit removed" in str(result)


def test_rounding_has_the_right_number_of_levels_and_beats_the_covering_step():
    values = np.random.default_rng(0).normal(size=4096).astype(np.float32)
    for bits in (2, 3, 4, 8):
        grid = rounded(values, bits)
        assert len(np.unique(grid)) <= 2**bits
        step = np.abs(values).max() / (2 ** (bits - 1) - 1)
        covering = np.clip(np.rint(values / step), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * step
        assert np.mean((grid - values) ** 2) <= np.mean((covering - values) ** 2)
    np.testing.assert_array_equal(rounded(np.zeros(3, np.float32), 4), np.zeros(3))


def test_bytes_are_those_of_the_containers():
    model = three_layers()
    conv, pointwise, dense = (model.get_layer(name) for name in ("conv", "pointwise", "dense"))
    assert [layer_bytes(conv, bits) for bits in (2, 4, 8)] == [72, 72, 72]
    assert [layer_bytes(pointwise, bits) for bits in (2, 3, 4, 8)] == [8, 16, 16, 32]
    assert [layer_bytes(dense, bits, "bits") for bits in (2, 3, 8)] == [10, 15, 40]


INCREASES = st.floats(0.0, 5.0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(INCREASES, INCREASES, INCREASES), min_size=3, max_size=3), st.data())
def test_the_policy_is_the_best_of_all(values, data):
    names = ("conv", "pointwise", "dense")
    model = MODEL
    increases = {
        name: dict(zip((2, 3, 4), row, strict=True))
        for name, row in zip(names, values, strict=True)
    }
    measured = Sensitivity(1.0, increases)
    accounting = data.draw(st.sampled_from(["file", "bits"]))

    def size(bits):
        pairs = zip(names, bits, strict=True)
        return sum(layer_bytes(model.get_layer(name), b, accounting) for name, b in pairs)

    everything = list(itertools.product((2, 3, 4, 8), repeat=3))
    budget = data.draw(st.integers(int(size((2, 2, 2))), int(size((8, 8, 8)))))
    policy = BitPolicy.from_budget(
        model, measured, weight_bytes=budget, accounting=accounting, activation_bits=4
    )
    chosen = tuple(policy.of(name)[0] for name in names)
    assert {policy.of(name)[1] for name in names} == {4}
    assert size(chosen) <= budget

    def cost(bits):
        return sum(increases[n].get(b, 0.0) for n, b in zip(names, bits, strict=True))

    best = min(cost(bits) for bits in everything if size(bits) <= budget)
    assert cost(chosen) == pytest.approx(best, abs=1e-6)


MODEL = three_layers()


def test_an_unreachable_budget_names_the_attainable_one():
    measured = Sensitivity(1.0, {name: {4: 0.1} for name in ("conv", "pointwise", "dense")})
    with pytest.raises(ValueError, match=r"cannot fit into 100 bytes; .* they take 108"):
        BitPolicy.from_budget(MODEL, measured, weight_bytes=100)
    policy = BitPolicy.from_budget(MODEL, measured, weight_bytes=108)
    assert dict(policy.layers) == {"conv": (8, 8), "pointwise": (4, 8), "dense": (4, 8)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bytes": 0}, "weight_bytes must be a number of at least 1"),
        ({"weight_bytes": float("nan")}, "weight_bytes must be a number of at least 1"),
        ({"weight_bytes": 99, "accounting": "disk"}, "accounting must be one of"),
    ],
)
def test_wrong_budgets(options, message):
    with pytest.raises(ValueError, match=message):
        BitPolicy.from_budget(MODEL, Sensitivity(1.0, {"conv": {4: 0.1}}), **options)
    with pytest.raises(ValueError, match="another model: 'three' has no layer 'elsewhere'"):
        BitPolicy.from_budget(MODEL, Sensitivity(1.0, {"elsewhere": {4: 0.1}}), weight_bytes=9)


def test_wrong_measurements():
    with pytest.raises(ValueError, match=r"'three' is not compiled.*Pass loss="):
        sensitivity(MODEL, [(np.zeros((1, 4, 4, 2), np.float32), np.zeros(1))])
    with pytest.raises(ValueError, match="The data is empty"):
        sensitivity(MODEL, [], loss=LOSS)
    with pytest.raises(ValueError, match=r"bits must be one or several of .*Received: \(8,\)"):
        sensitivity(MODEL, [], loss=LOSS, bits=[8])


def test_layers_that_are_split_or_nested_have_their_names_everywhere():
    """`sensitivity`, `ranking`, `from_budget` and `quantize` mean the same layers."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((4, 4, 4)), layers.Conv2D(4, 1, name="inner")])
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            layers.SeparableConv2D(4, 3, name="separable", padding="same"),
            inner,
            layers.Flatten(),
            layers.Dense(3, name="dense"),
        ]
    )
    images = np.random.default_rng(0).normal(size=(8, 4, 4, 2)).astype(np.float32)
    before = model.get_weights()
    measured = sensitivity(model, images, bits=(2, 4))
    names = {"separable.depthwise", "separable", "inner", "dense"}
    assert set(measured.increases) == {name for name, _ in measured.ranking()} == names
    policy = BitPolicy.from_budget(model, measured, weight_bytes=180)
    assert set(policy.layers) == names
    quantized = quantize(model, policy)
    for name, (bits, _) in policy.layers.items():
        quantizer = quantized.get_layer(f"quant_{name}").quantize_config.weight_quantizer
        assert quantizer.bit_widths.choices == (bits,)
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)
