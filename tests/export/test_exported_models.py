"""Users' models from training to LiteRT: the two promises, containers and tensor types."""

import contextlib
import functools
import types

import numpy as np
import pytest
import user_models

import tflite_tools
from quantize_configs import prepare_for_deployment
from quantize_configs.keras_backend import keras
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.runtime import KernelSet

#: float model, and the first gains of a batch normalization that training starts from
NETS = {
    "plain": (user_models.plain, {}),
    "mobile": (user_models.mobile, {"expand_2_bn": [-1.0, 1e-9], "project_1_bn": [0.0, -0.5]}),
    "residual": (user_models.residual, {"conv_1_bn": [-1.0], "conv_2_bn": [-1.0, -1.0]}),
}
EPOCHS = 8
LARGEST_SHARE = 1e-3


@functools.cache
def trained(name):
    keras.utils.set_random_seed(0)
    build, gammas = NETS[name]
    float_model = build()
    user_models.set_gammas(float_model, gammas)
    model = user_models.deployable(float_model, user_models.MIXED[name], EPOCHS)
    flatbuffer = tflite_tools.convert(model)
    _, _, images, labels = user_models.digits()
    report = tflite_tools.verify(flatbuffer, model, images, labels=labels)
    return types.SimpleNamespace(model=model, flatbuffer=flatbuffer, report=report, images=images)


@pytest.fixture(params=NETS)
def net(request):
    return trained(request.param)


def test_every_integer_is_the_simulated_one(net):
    assert [item.kernel_set for item in net.report.integers.kernel_sets] == list(KernelSet)
    assert net.report.mismatches == 0
    assert net.report.elements > 3 * 32 * 1000


def test_the_whole_graph_is_one_delegate_partition(net):
    (xnnpack,) = (
        item for item in net.report.integers.kernel_sets if item.kernel_set is KernelSet.XNNPACK
    )
    assert (xnnpack.partitions, xnnpack.fallbacks) == (1, ())


def test_keras_and_litert_agree(net):
    report = net.report
    assert report.images >= 200
    assert report.keras_accuracy > 0.7
    assert report.top1_agreement >= 0.995
    assert abs(report.keras_accuracy - report.litert_accuracy) <= 0.002


def test_codes_are_those_of_keras_on_every_tensor(net):
    shares = user_models.differing_codes(net.model, net.images)
    assert len(shares) >= 8
    assert {name: share for name, share in shares.items() if share > LARGEST_SHARE} == {}


@contextlib.contextmanager
def prepared_for(model, weight_container):
    """The model prepared for a container; afterwards it is as it was."""
    before = model.get_weights()
    prepare_for_deployment(model, weight_container)
    yield
    model.set_weights(before)


@pytest.mark.parametrize("input_type", ["float32", "int8"])
@pytest.mark.parametrize("output_type", ["float32", "int8"])
@pytest.mark.parametrize("weight_container", ["auto", "int8"])
def test_options(net, weight_container, input_type, output_type):
    options = {
        "weight_container": weight_container,
        "input_type": input_type,
        "output_type": output_type,
    }
    with prepared_for(net.model, weight_container):
        flatbuffer = tflite_tools.convert(net.model, **options)
        report = tflite_tools.verify(flatbuffer, net.model, net.images[:200], integer_images=8)
    xnnpack, *_ = report.integers.kernel_sets
    assert (report.mismatches, xnnpack.partitions, xnnpack.fallbacks) == (0, 1, ())
    assert report.top1_agreement >= 0.995
    interpreter = runtime.load(flatbuffer)
    assert interpreter.get_input_details()[0]["dtype"] == np.dtype(input_type)
    assert interpreter.get_output_details()[0]["dtype"] == np.dtype(output_type)
