"""Whether channels of equal ranges help a trained network: EfficientNet-Lite0, quantized after it.

    pip install 'qfa_tf[benchmarks]'
    python benchmarks/equalization.py [--pixels=96]

Between a linear bottleneck and the convolutions that read it a channel may be divided by a factor
which their weights are multiplied by (Nagel et al., ICCV 2019, section 4.1); the float network
stays what it is. Where weights have a step per output channel, only the activations of the
bottleneck can gain. The factor is (range of the channel / largest weight that reads it) ** power.
Equal answers with the float network in % and signal-to-noise ratio of the logits in dB, in LiteRT,
on crops of photographs that were not used to calibrate; a row per power and bits in
benchmarks/results/equalization.csv.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import efficientnet_lite
import numpy as np
import results_file
from photographs import crops
from pretrained import as_inputs, closeness, eight_bits, four_bits, run

import tflite_tools
from quantize_configs import calibrate, prepare_for_deployment, quantize
from quantize_configs.keras_backend import keras

POWERS, POLICIES = (0.0, 0.25, 0.5), {"8/8": eight_bits, "4/8": four_bits}
CALIBRATION_CROPS, OTHER_CROPS, BATCH_SIZE = 4, 12, 17
"""Crops of each of 17 photographs."""


def bottlenecks() -> list[tuple[list[int], list[str]]]:
    """The blocks that add to each bottleneck, and the convolutions that read it."""
    found, first = [], 0
    counts = [count for count, *_ in efficientnet_lite.STAGES]
    for count in counts:
        blocks = list(range(first, first + count))
        first += count
        following = "conv_head" if first == sum(counts) else f"blocks.{first}.expand_conv"
        found.append((blocks, [f"blocks.{one}.expand_conv" for one in blocks[1:]] + [following]))
    return found


def equalize(model: keras.Model, images: np.ndarray, power: float) -> None:
    """Equalizes the bottlenecks of a network, in place."""
    ends = [
        f"blocks.{blocks[-1]}.sum" if len(blocks) > 1 else f"blocks.{blocks[-1]}.bn2"
        for blocks, _ in bottlenecks()
    ]
    maps = keras.Model(model.input, [model.get_layer(name).output for name in ends])
    found = maps.predict(images, batch_size=BATCH_SIZE, verbose=0)
    for values, (blocks, readers) in zip(found, bottlenecks(), strict=True):
        ranges = np.abs(values).reshape(-1, values.shape[-1]).max(0)
        layers = [model.get_layer(name) for name in readers]
        weights = np.max([np.abs(layer.kernel.numpy()[0, 0]).max(1) for layer in layers], 0)
        factors = (ranges / weights) ** power
        factors /= np.exp(np.mean(np.log(factors)))
        for block in blocks:
            norm = model.get_layer(f"blocks.{block}.bn2")
            norm.gamma.assign(norm.gamma / factors)
            norm.beta.assign(norm.beta / factors)
        for layer in layers:
            layer.kernel.assign(layer.kernel * factors[:, None])


def main() -> None:
    """Measures all powers and bits."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pixels", type=int, default=96)
    options = parser.parse_args()
    counts = CALIBRATION_CROPS, OTHER_CROPS
    calibration, others = (
        as_inputs(crops(options.pixels, count, seed=seed)) for seed, count in enumerate(counts)
    )
    original = efficientnet_lite.pretrained(options.pixels)
    expected = original.predict(others, batch_size=BATCH_SIZE, verbose=0)
    for power in POWERS:
        model = efficientnet_lite.pretrained(options.pixels)
        equalize(model, calibration, power)
        outputs = model.predict(others, batch_size=BATCH_SIZE, verbose=0)
        for bits, policy_of in POLICIES.items():
            quantized = quantize(model, policy_of(model, calibration))
            calibrate(quantized, calibration, batch_size=BATCH_SIZE)
            prepare_for_deployment(quantized)
            found = run(tflite_tools.convert(quantized), others)
            row = {
                "row": f"power {power}, {bits}",
                "pixels": options.pixels,
                "calibration": len(calibration),
                "images": len(others),
                "float_difference": f"{np.abs(outputs - expected).max():.2g}",
                **closeness(found, expected),
            }
            print(row, flush=True)
            results_file.replace("equalization", "row", row)


if __name__ == "__main__":
    main()
