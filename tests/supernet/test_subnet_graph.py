"""The graph of a subnet from its architecture against what is exported from a trained net."""

import numpy as np
import pytest

import tflite_tools
from qfa_tf.latency.subnet_graph import subnet_graph
from qfa_tf.space import Head, SearchSpace, Stage, Stem
from tflite_tools.flatbuffer.emitter import emit


def signature(flatbuffer):
    return [
        (item.operator, item.input_type, item.output_type, item.output_shape, item.weight_type)
        for item in tflite_tools.inspect(flatbuffer, delegation=False).layers
    ]


def check(net, arch, images, input_type):
    calibration = net.calibrate([images], arch)
    pixel_range = (0.0, 1.0) if input_type == "uint8" else None
    exported = tflite_tools.convert(
        net.extract(arch, calibration), input_type=input_type, pixel_range=pixel_range
    )
    made = emit(subnet_graph(net.space, arch, input_type))
    assert signature(made) == signature(exported)


@pytest.mark.xdist_group("trained_net")
@pytest.mark.parametrize(("seed", "input_type"), [(3, "uint8"), (4, "float32")])
def test_small_space(seed, input_type, trained_net, calibration_batches):
    arch = trained_net.space.sample(np.random.default_rng(seed))
    check(trained_net, arch, calibration_batches[0], input_type)


def test_squeeze_excite_and_hard_swish(small_digits):
    from qfa_tf import QFASupernet

    space = SearchSpace(
        name="excited",
        resolutions=(12,),
        stem=Stem(8, 3, 2, "hard_swish"),
        stages=(
            Stage(8, 1, (1,), (3,), (1,), "relu"),
            Stage(16, 2, (2,), (3,), (2,), "hard_swish", True),
        ),
        head=Head(24, 16, "hard_swish"),
        weight_bits=(2, 4, 8),
        activation_bits=(2, 4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=10,
    )
    images = small_digits.calibration.read_images()[:8]
    check(QFASupernet(space), space.sample(np.random.default_rng(0)), images, "uint8")
