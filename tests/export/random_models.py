"""Random functional models of supported layers, connected in any order."""

from quantize_configs import BitPolicy, HardSigmoid, HardSwish
from quantize_configs.keras_backend import keras
from quantize_configs.layer_roles import Role
from quantize_configs.model_graph import ModelGraph
from quantize_configs.rewriting import as_quantizable

layers = keras.layers
SHAPE = (8, 8, 3)
WIDTHS = (3, 4, 6, 8)


def random_model(rng):
    """A model of 3 to 9 steps; some cannot be quantized or exported, which must be refused."""
    images = keras.Input(SHAPE, name="images")
    maps = [layers.Rescaling(0.5, -0.25)(images) if rng.random() < 0.2 else images]
    for _ in range(int(rng.integers(3, 10))):
        source = maps[int(rng.integers(max(len(maps) - 3, 0), len(maps)))]
        step = STEPS[int(rng.integers(len(STEPS)))]
        maps.append(step(rng, source, maps))
    x = maps[-1]
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D()(x) if rng.random() < 0.5 else layers.Flatten()(x)
    function = (None, None, "softmax", "sigmoid")[int(rng.integers(4))]
    x = layers.Dense(5, activation=function)(x)
    return keras.Model(images, x)


def random_policy(rng, model, special=0.0):
    """2 to 8 bits, drawn for every layer; a share of the layers has 16 bits or is in float."""
    names = [c.name for c in ModelGraph(as_quantizable(model)).calls if c.role is Role.LINEAR]

    def pair():
        weights, activations = (int(bits) for bits in rng.choice((2, 3, 4, 5, 8), 2))
        if rng.random() >= special:
            return weights, activations
        return _pick(rng, ((weights, 16), (32, 32), (16, 32)))

    return BitPolicy((8, 8), {name: pair() for name in names})


def randomize(rng, model):
    """Gains of both signs, offsets and biases."""
    for weight in model.weights:
        role = weight.name.rsplit("/", 1)[-1]
        if role.startswith("gamma"):
            weight.assign(rng.uniform(0.3, 1.5, weight.shape) * rng.choice((-1, 1), weight.shape))
        elif role.startswith(("beta", "bias", "moving_mean")):
            weight.assign(rng.normal(0, 0.3, weight.shape))


def _pick(rng, options):
    return options[int(rng.integers(len(options)))]


def _activated(rng, x):
    if rng.random() < 0.5:
        x = layers.BatchNormalization()(x)
    kind = _pick(rng, ("none", "relu", "relu6", "hard_swish", "swish", "hard_sigmoid", "sigmoid"))
    return {
        "none": lambda: x,
        "relu": lambda: layers.ReLU()(x),
        "relu6": lambda: layers.ReLU(6.0)(x),
        "hard_swish": lambda: HardSwish()(x),
        "swish": lambda: layers.Activation("swish")(x),
        "hard_sigmoid": lambda: HardSigmoid()(x),
        "sigmoid": lambda: layers.Activation("sigmoid")(x),
    }[kind]()


def _conv(rng, x, maps):
    if len(x.shape) != 4:
        return layers.Dense(_pick(rng, WIDTHS), activation=_pick(rng, ("relu", None, "swish")))(x)
    size = min(int(rng.integers(1, 4)), x.shape[1], x.shape[2])
    padding = _pick(rng, ("same", "valid"))
    if padding == "valid" and rng.random() < 0.5:
        x = layers.ZeroPadding2D(_pick(rng, (1, ((0, 1), (0, 1)), ((2, 0), (1, 1)))))(x)
    strides = int(rng.integers(1, 3))
    if rng.random() < 0.5:
        multiplier = int(rng.integers(1, 3))
        layer = layers.DepthwiseConv2D(size, strides, padding, depth_multiplier=multiplier)
    else:
        layer = layers.Conv2D(_pick(rng, WIDTHS), size, strides, padding)
    return _activated(rng, layer(x))


def _pool(rng, x, maps):
    if len(x.shape) != 4 or min(x.shape[1:3]) < 2:
        return layers.Dropout(0.5)(x)
    kind = _pick(rng, (layers.MaxPooling2D, layers.AveragePooling2D))
    return kind(2, int(rng.integers(1, 3)), _pick(rng, ("same", "valid")))(x)


def _shape(rng, x, maps):
    kinds = [layers.Dropout(0.5), layers.Flatten(), layers.Activation("linear")]
    if len(x.shape) == 4:
        kinds += [layers.ZeroPadding2D(1), layers.Reshape((-1, x.shape[-1]))]
    return _pick(rng, kinds)(x)


def _merge(rng, x, maps):
    alike = [y for y in maps if tuple(y.shape) == tuple(x.shape)]
    other = _pick(rng, alike) if alike else x
    kind = _pick(rng, (layers.Add, layers.Multiply, layers.Concatenate))
    x = kind()([x, other])
    return layers.ReLU()(x) if kind is layers.Add and rng.random() < 0.5 else x


def _squeeze_excite(rng, x, maps):
    if len(x.shape) != 4:
        return x
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.ReLU()(layers.Conv2D(4, 1)(gate))
    return layers.Multiply()([x, HardSigmoid()(layers.Conv2D(x.shape[-1], 1)(gate))])


STEPS = (_conv, _conv, _conv, _pool, _shape, _merge, _merge, _squeeze_excite)
