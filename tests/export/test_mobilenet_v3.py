"""Hard-swish, hard-sigmoid and squeeze-excite from Keras to LiteRT."""

import numpy as np
import pytest
import user_models

import tflite_tools
from quantize_configs import BitPolicy, HardSigmoid, HardSwish, quantize
from quantize_configs.keras_backend import keras
from quantize_configs.saving import load_model, save_model
from quantize_configs.wrappers import WrappedModel
from tflite_tools.conversion import graph_of
from tflite_tools.lowering import ConversionOptions

layers = keras.layers


@pytest.fixture(scope="module")
def report(exported_v3):
    return tflite_tools.verify(
        exported_v3.flatbuffer, exported_v3.model, exported_v3.images, integer_images=16
    )


def test_exact_in_all_kernels_and_one_partition(report):
    xnnpack, *_ = report.integers.kernel_sets
    assert report.mismatches == 0
    assert (xnnpack.partitions, xnnpack.fallbacks) == (1, ())


def test_keras_agrees_on_every_tensor(report, exported_v3):
    assert report.top1_agreement >= 0.995
    shares = user_models.differing_codes(exported_v3.model, exported_v3.images)
    assert len(shares) > 15
    assert {name: share for name, share in shares.items() if share > 5e-4} == {}


def test_8_bit_tensors_are_the_documented_ones(exported_v3):
    names = [
        name
        for name in exported_v3.wrapped.quantized_outputs()
        if not name.endswith(".input") or ".se." in name
    ]
    squeeze = ["se.reduce.input", "se.expand.input", "se.gate"]
    assert set(names) == {
        *("stem.norm", "stem.activation"),
        *(f"s0.b0.{part}" for part in ("expand.norm", "depthwise.norm", "depthwise.activation")),
        *(f"{block}.{part}" for block in ("s0.b0", "s1.b0") for part in squeeze),
        *("s0.b0.project.norm", "s0.b0.sum", "s1.b0.depthwise.activation"),
        *("head.expand.norm", "head.expand.activation", "head.mix", "classifier"),
    } - {"s0.b0.sum"}  # read by s1.b0.expand alone
    for name in names:
        assert exported_v3.wrapped.activation_grid(name)[2] == 8


def test_hard_sigmoid_costs_no_operation(exported_v3):
    graph = graph_of(exported_v3.model, ConversionOptions())
    kinds = {item.name: str(item.kind) for item in graph.operations}
    assert kinds["s0.b0.se.scale"] == "MUL"
    assert not [name for name in kinds if name.startswith("s0.b0.se.gate")]
    gate = graph.tensor("s0.b0.se.gate").quantization
    assert gate.zero_point == -128
    assert 255 * float(gate.scale) <= 1.001


def test_layers_compute_their_formula_and_survive_saving(exported_v3, tmp_path):
    x = np.array([[-4.0, -3.0, -1.0, 0.0, 1.0, 3.0, 5.0]], np.float32)
    gate = np.array([[0.0, 0.0, 1 / 3, 0.5, 2 / 3, 1.0, 1.0]])
    np.testing.assert_allclose(HardSigmoid()(x), gate, rtol=1e-6)
    np.testing.assert_allclose(HardSwish()(x), x * gate, rtol=1e-6, atol=1e-7)
    save_model(exported_v3.model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    np.testing.assert_array_equal(
        again(exported_v3.images[:4]), exported_v3.model(exported_v3.images[:4])
    )


@pytest.mark.parametrize("bits", [2, 8])
def test_fitted_steps_cover_the_weights_of_each_channel(bits):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="dense")])
    model.layers[0].kernel.assign([[0.5, -3.0], [1.0, 0.0], [2.0, 0.25]])
    wrapped = WrappedModel(quantize(model, BitPolicy((bits, 8))))
    wrapped.fit_step("dense")
    step = wrapped.weight_variables("dense")["step"].numpy()
    largest = np.array([2.0, 3.0])
    np.testing.assert_allclose(step.ravel(), largest / (2 ** (bits - 1) - 1), rtol=1e-6)
