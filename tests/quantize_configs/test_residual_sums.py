"""The last layer of a branch makes up for what the tensor beside it has lost."""

import numpy as np

from quantize_configs import BitPolicy, calibrate, post_training, quantize
from quantize_configs.keras_backend import keras
from quantize_configs.model_graph import ModelGraph
from quantize_configs.residual_sums import lacking_in_sum

layers = keras.layers
RNG = np.random.default_rng(0)
IMAGES, OTHERS = (RNG.normal(size=(64, 6, 6, 4)).astype(np.float32) for _ in range(2))
NORM = {"momentum": 0.0}  # statistics of the last batch


def residual_model(function=None):
    """Three residual blocks; `function` stands between a branch and its sum."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 4), name="image")
    x = layers.Conv2D(8, 1, name="stem")(image)
    for block in range(3):
        y = layers.Conv2D(16, 3, padding="same", activation="relu", name=f"{block}.expand")(x)
        y = layers.Conv2D(8, 1, name=f"{block}.project", use_bias=False)(y)
        y = layers.BatchNormalization(name=f"{block}.norm", **NORM)(y)
        y = layers.Activation(function, name=f"{block}.function")(y) if function else y
        x = layers.Add(name=f"{block}.sum")([x, y])
    model = keras.Model(image, layers.Dense(5, name="head")(layers.Flatten()(x)))
    for block in range(3):
        model.get_layer(f"{block}.norm").gamma.assign(np.linspace(-1.0, 2.0, 8))
    model(IMAGES, training=True)
    return model


def test_what_is_lacking_is_told_in_outputs_of_the_layer():
    model = residual_model()
    graph = ModelGraph(model)
    stem = RNG.normal(size=(2, 6, 6, 8))
    found = lacking_in_sum(graph, graph.by_name["0.project"], {"stem": stem}, {"stem": 0 * stem})
    norm = model.get_layer("0.norm")
    gain = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
    np.testing.assert_allclose(found * gain, stem, rtol=1e-4)


def test_where_nothing_can_be_made_up_for():
    tensors = {"stem": np.ones((2, 6, 6, 8))}
    graph = ModelGraph(residual_model())
    assert lacking_in_sum(graph, graph.by_name["0.expand"], tensors, tensors) is None
    assert lacking_in_sum(graph, graph.by_name["0.project"], {}, {}) is None  # not known yet
    graph = ModelGraph(residual_model("relu"))
    assert lacking_in_sum(graph, graph.by_name["0.project"], tensors, tensors) is None


def test_a_channel_that_is_switched_off_makes_up_for_nothing():
    model = residual_model()
    model.get_layer("0.norm").gamma.assign([0.0, 1e-30, *[1.0] * 6])
    graph = ModelGraph(model)
    tensors = {"stem": np.ones((2, 6, 6, 8))}
    nothing = {"stem": np.zeros((2, 6, 6, 8))}
    found = lacking_in_sum(graph, graph.by_name["0.project"], tensors, nothing)
    assert np.isfinite(found).all()
    assert not found[..., :2].any()
    assert found[..., 2:].all()


def test_learned_rounding_is_nearer_with_it(monkeypatch):
    model = residual_model()
    expected = model(OTHERS).numpy()
    errors = []
    for function in (lacking_in_sum, lambda *_: None):
        monkeypatch.setattr(post_training, "lacking_in_sum", function)
        quantized = quantize(model, BitPolicy((3, 8)))
        calibrate(quantized, IMAGES, learn_rounding=True, verbose=False)
        errors.append(np.mean((quantized(OTHERS).numpy() - expected) ** 2))
    assert errors[0] < 0.95 * errors[1]
