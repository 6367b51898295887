"""Small supernets of several families, sliced and masked, with the same weights."""

import dataclasses

import numpy as np
import tensorflow as tf

from qfa_tf import QFASupernet, QFATraining, TrainingStage
from qfa_tf.network import Chosen, Concatenation, Constant, Function, GlobalPooling, Product
from qfa_tf.network.building import IMAGE, NetworkBuilder
from qfa_tf.network.families import Described
from qfa_tf.network.families.resnet import ResNet
from qfa_tf.space import Head, SearchSpace, Stage, Stem
from quantize_configs.keras_backend import keras

BITS = (2, 3, 4, 8)
ENDS = {"stem": (8, 8), "classifier": (8, 8)}
EXECUTIONS = ("sliced", "masked")


def mobilenet_v3(resolutions=(9,), squeeze_excite=True):
    """Elastic depth, kernels, expansion and squeeze-excite, at stride 2 on an odd size."""
    return SearchSpace(
        name="masked_v3",
        resolutions=resolutions,
        stem=Stem(width=4, kernel_size=3, stride=1, activation="hard_swish"),
        stages=(Stage(8, 2, (1, 2), (3, 5, 7), (2, 3), "hard_swish", squeeze_excite),),
        head=Head(expand_width=16, mix_width=12, activation="hard_swish"),
        weight_bits=BITS,
        activation_bits=BITS,
        fixed_bits=ENDS,
        input_channels=1,
        num_classes=4,
    )


def resnet(resolutions=(8,)):
    """Elastic inner widths and depth."""
    return SearchSpace(
        ResNet(
            name="masked_resnet",
            resolutions=resolutions,
            block="basic",
            stem="small",
            widths=(4, 8),
            strides=(1, 2),
            depths=((1,), (1, 2)),
            width_percents=(50, 75, 100),
            weight_bits=BITS,
            activation_bits=BITS,
            fixed_bits=ENDS,
            input_channels=1,
            num_classes=4,
        )
    )


def joined():
    """Elastic tensors side by side, read by a depthwise and a gating site; sigmoid of zeros."""
    build = NetworkBuilder((8,), 1, BITS, BITS, ENDS)

    def width(name, values):
        return Chosen(build.choice(f"{name}.width", values, "width"))

    x = build.site("stem", IMAGE, "convolution", Constant(4), kernel_size=3, activation="relu")
    first = build.site("first", x, "pointwise", width("first", (3, 6)), activation="relu")
    second = build.site("second", x, "pointwise", width("second", (2, 5)))
    both = build.node(Concatenation, "both", first, x, second)
    y = build.site("depthwise", both, "depthwise", kernel_size=3, stride=2, activation="relu")
    gate = build.site("gate", y, "pointwise", width("gate", (3, 6)))
    gate = build.node(Function, "sigmoid", gate, activation="sigmoid")
    y = build.site("gated", y, "pointwise", Chosen("gate.width"))
    pool = build.node(GlobalPooling, "pool", build.node(Product, "product", y, gate))
    options = {"normalization": False, "bias": True}
    network = build.build(build.site("classifier", pool, "dense", Constant(4), **options))
    return SearchSpace(Described.of("masked_joined", network))


def short_resnet():
    """Few sites, for XLA, which compiles slowly on a CPU: one slot, one elastic width."""
    return SearchSpace(
        dataclasses.replace(
            resnet().family, name="masked_short_resnet", widths=(4,), strides=(2,), depths=((1, 2),)
        )
    )


SPACES = {one.__name__: one for one in (mobilenet_v3, resnet, joined)}


def pair(space, training=None, compile_options=None, **options):
    """A sliced and a masked supernet with the same weights, learned grids started."""
    keras.utils.set_random_seed(0)
    nets = [QFASupernet(space, execution=execution, **options) for execution in EXECUTIONS]
    rng = np.random.default_rng(0)
    for weight in nets[0].trainable_weights:
        if weight.name.startswith(("gamma", "beta", "kernel_")):
            noise = rng.normal(size=weight.shape, scale=0.1)
            weight.assign(weight.numpy() + noise.astype(np.float32))
    nets[0].reset_steps()
    images, _ = batch(space, 0)
    nets[0].start_activations(images)
    nets[1].set_weights(nets[0].get_weights())
    training = training or QFATraining(
        stages=(TrainingStage((*BITS, 32)),), random_subnets=2, seed=1
    )
    for net in nets:
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
        own = compile_options or {}
        net.compile(optimizer=optimizer, training=training, **own.get(net.execution, {}))
    return nets


def batch(space, seed, count=6):
    """Images and labels."""
    rng = np.random.default_rng(seed)
    size = space.resolutions[-1]
    images = rng.uniform(size=(count, size, size, space.input_channels)).astype(np.float32)
    labels = rng.integers(0, space.num_classes, count)
    return tf.constant(images), tf.constant(labels, tf.int32)


def gradients_of(net, genome, images, labels):
    """(loss, logits, gradients) of one subnet, computed without a graph."""
    known = tf.zeros([len(images), net.heads.size])
    seed = tf.zeros([2], tf.int64)
    return net.training_method._subnet_gradients(images, labels, genome, known, tf.zeros([]), seed)


def largest_difference(found, expected):
    """How far tensors are apart, in units of float32 rounding: above 1 they differ.

    1e-5 of the largest value of each tensor, and 1e-6 of the largest of all: some gradients are
    exactly 0 in theory, as those of an offset before another normalization.
    """
    overall = max(np.max(np.abs(value)) for value in map(np.asarray, expected))
    worst = 0.0
    for one, other in zip(map(np.asarray, found), map(np.asarray, expected), strict=True):
        allowed = 1e-5 * np.max(np.abs(other), initial=0.0) + 1e-6 * overall
        worst = max(worst, float(np.max(np.abs(one - other), initial=0.0) / allowed))
    return worst
