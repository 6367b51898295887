"""First values of the kernels of a supernet."""

import numpy as np

from quantize_configs.keras_backend import keras


def fan_out(size: int, inputs: int, outputs: int) -> keras.initializers.Initializer:
    """Normal with variance 2 / (size^2 outputs), depthwise kernels included.

    Normalization turns the norm of a weight into a learning rate, so that counting all channels of
    a depthwise kernel, as Once-for-All does, is part of the recipe.
    """
    return keras.initializers.RandomNormal(stddev=np.sqrt(2.0 / (size * size * outputs)))


def own_channel(size: int, inputs: int, outputs: int) -> keras.initializers.Initializer:
    """Normal with variance 2 / size^2: the fan-out of one channel of a depthwise kernel."""
    return keras.initializers.RandomNormal(stddev=np.sqrt(2.0 / (size * size)))


def uniform(size: int, inputs: int, outputs: int) -> keras.initializers.Initializer:
    """Uniform in +-1 / sqrt(size^2 inputs), as the official releases start their classifier.

    The first logits are then small whatever the number of classes, and the first loss is about
    ln(classes); the fan-out rule would give a classifier of few classes logits of order sqrt(inputs
    / classes).
    """
    bound = 1.0 / np.sqrt(size * size * inputs)
    return keras.initializers.RandomUniform(-bound, bound)


STARTS = {"fan_out": fan_out, "own_channel": own_channel, "uniform": uniform}
"""By name, functions of the largest kernel size and the largest widths of a site."""
