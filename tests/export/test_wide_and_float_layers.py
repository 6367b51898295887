"""Layers with 16-bit activations and layers in float, mixed with integer layers of any bits."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflite_tools
from quantize_configs import (
    BitPolicy,
    HardSigmoid,
    HardSwish,
    UnsupportedLayerError,
    calibrate,
    prepare_for_deployment,
    quantize,
)
from quantize_configs.keras_backend import keras
from quantize_configs.saving import load_model, save_model
from quantize_configs.wrappers import WrappedModel
from tflite_tools.reference import interpret

layers = keras.layers
SHAPE = (12, 12, 3)
IMAGES = np.random.default_rng(0).normal(0, 1, (64, *SHAPE)).astype(np.float32)
NAMES = ("stem", "expand", "depthwise", "project", "conv", "hidden", "logits")
WIDE, FLOAT, FLOAT16 = (8, 16), (32, 32), (16, 32)

POLICIES = {
    "16 bits": dict.fromkeys(NAMES, WIDE),
    "float16": dict.fromkeys(NAMES, FLOAT16),
    "mixed": dict(zip(NAMES, (FLOAT, (4, 8), WIDE, (2, 4), FLOAT16, (4, 16), FLOAT), strict=True)),
    "mixed otherwise": dict(
        zip(NAMES, (WIDE, FLOAT, FLOAT16, (4, 16), WIDE, (3, 4), WIDE), strict=True)
    ),
}


def float_model():
    """Every kind of reader: linear, pointwise, a sum, pools, the output."""
    rng = np.random.default_rng(1)
    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE, name="image")
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="stem")(image)
    x = HardSwish(name="stem.function")(layers.BatchNormalization(name="stem.norm")(x))
    y = layers.Conv2D(16, 1, use_bias=False, name="expand")(x)
    y = layers.ReLU(6.0, name="expand.relu")(layers.BatchNormalization(name="expand.norm")(y))
    y = layers.ReLU(name="depthwise.relu")(layers.DepthwiseConv2D(3, name="depthwise")(y))
    y = layers.Conv2D(8, 1, name="project")(layers.ZeroPadding2D(1, name="padding")(y))
    x = layers.MaxPooling2D(name="max_pool")(layers.Add(name="sum")([x, y]))
    x = layers.Conv2D(12, 3, padding="same", activation="relu", name="conv")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dense(10, activation="relu", name="hidden")(x)
    model = keras.Model(image, layers.Dense(5, name="logits")(x), name="all_readers")
    for weight in model.weights:
        role = weight.name.rsplit("/", 1)[-1]
        if role.startswith("gamma"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape) * rng.choice((-1, 1), weight.shape))
        elif role.startswith(("beta", "bias")):
            weight.assign(rng.normal(0, 0.3, weight.shape))
    return model


def deployable(pairs, model=None):
    model = quantize(model or float_model(), BitPolicy((8, 8), pairs))
    calibrate(model, [IMAGES])
    prepare_for_deployment(model)
    return model


@pytest.fixture(scope="module", params=POLICIES)
def case(request):
    """(name of the policy, model, flatbuffer, report)."""
    model = deployable(POLICIES[request.param])
    flatbuffer = tflite_tools.convert(model)
    report = tflite_tools.verify(flatbuffer, model, IMAGES, integer_images=16)
    return request.param, model, flatbuffer, report


def test_exact_in_all_kernels_and_equal_to_keras(case):
    _, _, _, report = case
    assert report.mismatches == 0, str(report)
    assert report.layers.first_difference is None, str(report.layers)
    assert report.top1_agreement >= 0.98


def test_float_layers_stay_in_the_delegate_and_wide_ones_are_reported(case):
    name, _, _, report = case
    xnnpack, *_ = report.integers.kernel_sets
    wide = {layer for layer, (_, activations) in POLICIES[name].items() if activations == 16}
    outside = [item.split(" -> ")[1].split(": ") for item in xnnpack.fallbacks]
    assert wide <= {tensor.split(".")[0] for tensor, _ in outside}
    assert {reason for _, reason in outside} <= {"XNNPACK takes no INT16 tensors"}
    assert all(f"outside the delegate: {item}" in str(report) for item in xnnpack.fallbacks)
    assert (xnnpack.partitions == 1) == (not wide)
    assert not xnnpack.fallbacks or wide


def tensors_of(flatbuffer):
    """Type by tensor name; "<layer>.read" is what the operator with `<layer>.bias` reads."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(flatbuffer))
    names = {value: name for name, value in vars(schema.TensorType).items() if name.isupper()}
    graph = model.subgraphs[0]
    types = {item.name.decode(): names[item.type] for item in graph.tensors}
    for operator in graph.operators:
        read, last = (graph.tensors[operator.inputs[place]].name.decode() for place in (0, -1))
        if last.endswith(".bias"):
            types[last.replace(".bias", ".read")] = types[read]
    return types


def test_types_and_boundaries(case):
    name, _, flatbuffer, _ = case
    types = tensors_of(flatbuffer)
    for layer in NAMES:
        pair = POLICIES[name].get(layer, (8, 8))
        if pair in (FLOAT, FLOAT16):
            expected = ("FLOAT32" if pair == FLOAT else "FLOAT16", "FLOAT32")
        elif pair[1] == 16:
            expected = ("INT8", "INT64" if layer == "depthwise" else "INT32")
        else:
            packed = {4: "INT4", 3: "INT4", 2: "INT2"}
            pointwise = layer in ("expand", "project", "hidden", "logits")
            expected = (packed.get(pair[0], "INT8") if pointwise else "INT8", "INT32")
        assert (types[f"{layer}.weight"], types[f"{layer}.bias"]) == expected, layer
        read = {16: "INT16", 32: "FLOAT32"}.get(pair[1], "INT8")
        assert types[f"{layer}.read"] == read, layer
    bits = tflite_tools.inspect(flatbuffer, delegation=False).metadata["bits"]
    assert {layer: tuple(bits[layer]) for layer in POLICIES[name]} == POLICIES[name]


def test_inspect_shows_the_weights_behind_their_widening():
    flatbuffer = tflite_tools.convert(deployable({"conv": FLOAT16}))
    (record,) = (it for it in tflite_tools.inspect(flatbuffer).layers if it.tensor == "conv.float")
    assert (record.name, record.operator, record.weight_type, record.delegate) == (
        "conv",
        "CONV_2D",
        "FLOAT16",
        "XNNPACK",
    )
    assert (record.weight_bits, record.activation_bits) == (16, 32)


def test_float_tensors_are_what_numpy_computes():
    """LiteRT computes float layers in the reference, too; this is the independent check."""
    model = deployable({"stem": FLOAT, "logits": FLOAT16})
    graph = tflite_tools.conversion.graph_of(model, tflite_tools.conversion.ConversionOptions())
    values = interpret(graph, [IMAGES[:2]])
    padded = np.pad(IMAGES[:2].astype(np.float64), ((0, 0), (0, 1), (0, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    weight = graph.tensor("stem.weight").data.astype(np.float64)
    expected = np.einsum("nhwcij,oijc->nhwo", windows, weight) + graph.tensor("stem.bias").data
    np.testing.assert_allclose(values["stem.norm"], expected, rtol=0, atol=1e-5)
    weight = graph.tensor("logits.weight").data
    assert weight.dtype == np.float16
    expected = values["logits.source"] @ weight.astype(np.float64).T
    expected += graph.tensor("logits.bias").data
    np.testing.assert_allclose(values["logits"], expected, rtol=0, atol=1e-5)


def test_float16_weights_are_those_that_keras_evaluates():
    """Preparation moves the kernel, so that nothing is left to round."""
    before = deployable({"stem": FLOAT})
    model = deployable({"stem": FLOAT16})
    kernel = model.get_layer("quant_stem").layer.kernel.numpy()
    change = np.abs(kernel - before.get_layer("quant_stem").layer.kernel.numpy())
    assert 0 < change.max() <= 2**-11 * np.abs(kernel).max() * 1.01
    prepare_for_deployment(model)
    np.testing.assert_allclose(model.get_layer("quant_stem").layer.kernel, kernel, rtol=1e-6)


def test_wide_biases_have_64_bits_where_sums_need_them():
    images = keras.Input((4, 4, 600), name="image")
    layer = layers.Conv2D(3, 1, use_bias=False, kernel_initializer="ones", name="conv")
    model = quantize(keras.Model(images, layer(images)), BitPolicy((8, 16)))
    calibrate(model, [np.ones((2, 4, 4, 600), np.float32)])
    WrappedModel(model).fit_step("conv")
    prepare_for_deployment(model)
    flatbuffer = tflite_tools.convert(model)
    assert tensors_of(flatbuffer)["conv.bias"] == "INT64"
    rng = np.random.default_rng(0)
    report = tflite_tools.verify(flatbuffer, model, rng.uniform(-1, 1, (4, 4, 4, 600)))
    assert report.mismatches == 0


def test_wide_layers_whose_inputs_have_collapsed():
    """LiteRT cannot load a model in which 6 is more than 2^31 steps of a ReLU6."""
    images = keras.Input((4, 4, 2), name="image")
    x = layers.ReLU(6.0, name="relu")(layers.Conv2D(2, 1, name="conv")(images))
    model = quantize(keras.Model(images, x), BitPolicy((8, 16)))
    tiny = np.full((2, 4, 4, 2), 1e-20, np.float32)
    calibrate(model, [tiny])
    prepare_for_deployment(model)
    assert tflite_tools.verify(tflite_tools.convert(model), model, tiny).mismatches == 0


def test_trained_and_saved(tmp_path):
    model = quantize(float_model(), BitPolicy((8, 8), POLICIES["mixed"]))
    model.compile(
        keras.optimizers.legacy.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # so few steps are not worth a graph
    )
    before = model.get_layer("quant_stem").layer.kernel.numpy()
    losses = model.fit(IMAGES, np.arange(64) % 5, 32, 3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.any(model.get_layer("quant_stem").layer.kernel.numpy() != before)
    calibrate(model, [IMAGES])
    prepare_for_deployment(model)
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert tflite_tools.convert(again) == tflite_tools.convert(model)


def hard_sigmoid(pair):
    image = keras.Input(SHAPE)
    x = HardSigmoid(name="gate")(layers.Conv2D(4, 1, name="conv")(image))
    return deployable({"conv": pair}, keras.Model(image, layers.GlobalAveragePooling2D()(x)))


def test_hard_sigmoid_behind_a_float_layer():
    model = hard_sigmoid(FLOAT)
    report = tflite_tools.verify(tflite_tools.convert(model), model, IMAGES)
    assert report.mismatches == 0
    assert report.layers.first_difference is None


def large_weight():
    model = float_model()
    model.get_layer("conv").kernel.assign_add(np.full((3, 3, 8, 12), 1e5, np.float32))
    return deployable({"conv": FLOAT16}, model)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (lambda: deployable({"logits": FLOAT}), {"output_type": "int8"}, "'logits'.* 32 bits"),
        (lambda: deployable({"logits": WIDE}), {"output_type": "int8"}, "'logits'.* 16 bits"),
        (lambda: deployable({"stem": FLOAT}), {"input_type": "int8"}, "'image' is read by .*float"),
        (lambda: deployable({"stem": WIDE}), {"input_type": "int8"}, "'image' is read by .*float"),
        (lambda: hard_sigmoid(WIDE), {}, "hard-sigmoid 'gate' follows a layer with 16 bits"),
        (large_weight, {}, r"'conv' has a folded weight of 1e\+05, too large for float16"),
    ],
)
def test_refused(build, options, message):
    with pytest.raises(UnsupportedLayerError, match=message):
        tflite_tools.convert(build(), **options)


@pytest.mark.parametrize("pair", [(16, 16), (32, 8), (8, 32), (16, 8), (9, 8), (32, 16)])
def test_pairs_that_do_not_exist(pair):
    with pytest.raises(ValueError, match=r"\(2 to 8, 16\) for 16-bit activations"):
        BitPolicy(layers={"conv": pair})
