"""Keras 3 models through `quantize`, `calibrate`, `convert` and `verify`.

    python benchmarks/keras3_models.py [--only NAME ...]

Models of `keras.applications`, and small ones of every family of image classifiers of KerasHub that
is a graph of layers (`pip install keras-hub`; left out where it is missing); random weights and
statistics of normalization of one batch of noise, 8 bits, 10 classes. Writes a row per model to
benchmarks/results/keras3_models.csv: operators of the file, partitions of XNNPACK, values compared
on all kernel sets and those that differ.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras as keras3
import numpy as np
import results_file

import tflite_tools
from quantize_configs import BitPolicy, as_tf_keras, calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras

SHAPE, CLASSES, IMAGES = (64, 64, 3), 10, 8
applications = keras3.applications


def application(build: Callable, pixels: int = 64) -> Callable[[], Any]:
    """A model of `keras.applications`."""
    return lambda: build(input_shape=(pixels, pixels, 3), weights=None, classes=CLASSES)


def hub(family: str, pixels: int = 64, shape_name: str = "image_shape", **sizes) -> Callable:
    """A classifier of KerasHub with a backbone of these sizes."""

    def build():
        from keras_hub import models

        options = {shape_name: (pixels, pixels, 3), **sizes}
        backbone = getattr(models, f"{family}Backbone")(**options)
        classifier = getattr(models, f"{family}ImageClassifier")
        return classifier(backbone=backbone, preprocessor=None, num_classes=CLASSES)

    return build


MODELS = {
    "keras.applications MobileNet": application(applications.MobileNet),
    "keras.applications MobileNetV2": application(applications.MobileNetV2),
    "keras.applications MobileNetV3Small": application(applications.MobileNetV3Small),
    "keras.applications EfficientNetB0": application(applications.EfficientNetB0),
    "keras.applications ResNet50": application(applications.ResNet50, 32),
    "keras.applications NASNetMobile": application(applications.NASNetMobile, 32),
    "keras.applications ConvNeXtTiny": application(applications.ConvNeXtTiny, 32),
    "keras_hub MobileNet": hub(
        "MobileNet",
        stackwise_expansion=[[16], [36, 44]],
        stackwise_num_blocks=[1, 2],
        stackwise_num_filters=[[16], [24, 24]],
        stackwise_kernel_size=[[3], [5, 3]],
        stackwise_num_strides=[[2], [2, 1]],
        stackwise_se_ratio=[[0.25], [0.25, 0.25]],
        stackwise_activation=[["relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1], [2, 1]],
        output_num_filters=64,
        input_activation="hard_swish",
        output_activation="hard_swish",
        input_num_filters=16,
        depthwise_filters=8,
        last_layer_filter=32,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=None,
    ),
    "keras_hub EfficientNet": hub(
        "EfficientNet",
        shape_name="input_shape",
        stackwise_width_coefficients=[1.0, 1.0],
        stackwise_depth_coefficients=[1.0, 1.0],
        stackwise_kernel_sizes=[3, 5],
        stackwise_num_repeats=[1, 2],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 4],
        stackwise_strides=[1, 2],
        stackwise_squeeze_and_excite_ratios=[0.25, 0.25],
        stackwise_block_types=["v1", "v1"],
        stem_conv_padding="same",
        dropout=0.0,
    ),
    "keras_hub ResNet": hub(
        "ResNet",
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 2],
        stackwise_num_strides=[1, 2],
        block_type="bottleneck_block",
    ),
    "keras_hub ResNetV2": hub(
        "ResNet",
        input_conv_filters=[16],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="bottleneck_block",
        use_pre_activation=True,
    ),
    "keras_hub DenseNet": hub(
        "DenseNet", stackwise_num_repeats=[2, 2], compression_ratio=0.5, growth_rate=8
    ),
    "keras_hub VGG": hub("VGG", stackwise_num_repeats=[1, 1], stackwise_num_filters=[8, 16]),
    "keras_hub CSPNet": hub(
        "CSPNet",
        stem_filters=32,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1, 2, 4],
        stackwise_strides=[1, 2, 2],
        stackwise_num_filters=[32, 64, 128],
        block_type="dark_block",
        stage_type="dark",
    ),
    "keras_hub Xception": hub(
        "Xception",
        96,
        stackwise_conv_filters=[[16, 32], [48, 48], [64, 96]],
        stackwise_pooling=[False, True, False],
    ),
    "keras_hub HGNetV2": hub(
        "HGNetV2",
        depths=[1, 1],
        embedding_size=16,
        hidden_sizes=[32, 64],
        stem_channels=[3, 16, 16],
        hidden_act="relu",
        use_learnable_affine_block=False,
        stackwise_stage_filters=[[16, 16, 32, 1, 2, 3], [32, 16, 64, 1, 2, 3]],
        apply_downsample=[False, True],
        use_lightweight_conv_block=[False, False],
    ),
}
"""By name."""


def measured(name: str) -> dict[str, object]:
    """The row of one model."""
    keras3.utils.set_random_seed(0)
    model = MODELS[name]()
    images = np.random.default_rng(0).uniform(0, 255, (IMAGES, *model.inputs[0].shape[1:]))
    images = images.astype(np.float32)
    start = time.perf_counter()
    rebuilt = as_tf_keras(model)  # compares the outputs
    for layer in rebuilt._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    rebuilt(images, training=True)
    quantized = quantize(rebuilt, BitPolicy((8, 8)))
    calibrate(quantized, images)
    prepare_for_deployment(quantized)
    content = tflite_tools.convert(quantized)
    report = tflite_tools.verify(content, quantized, images, integer_images=1)
    return {
        "model": name,
        "layers": len(model.layers),
        "parameters": model.count_params(),
        "operators": len(tflite_tools.inspect(content, delegation=False).layers),
        "partitions": report.integers.kernel_sets[0].partitions,
        "elements": report.elements,
        "mismatches": report.mismatches,
        "top1_agreement": round(report.top1_agreement, 4),
        "seconds": round(time.perf_counter() - start),
    }


def main() -> None:
    """Measures the models one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=list(MODELS), choices=MODELS, metavar="NAME")
    args = parser.parse_args()
    has_hub = importlib.util.find_spec("keras_hub") is not None
    for name in args.only:
        if name.startswith("keras_hub") and not has_hub:
            print(f"{name}: left out, keras_hub is not installed")
            continue
        row = measured(name)
        print(row, flush=True)
        results_file.replace("keras3_models", "model", row)


if __name__ == "__main__":
    main()
