"""Which images a model is verified on, and what it must keep."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from qfa_tf.runs.exporting.records import ModelRecord
from qfa_tf.space import Architecture

if TYPE_CHECKING:
    from qfa_tf.data import Split

VERIFIED_BYTES = 1 << 30
"""Most bytes of test images that are verified; LiteRT and Keras hold them in memory."""

MIN_AGREEMENT = 0.995
MAX_ACCURACY_DIFFERENCE = 0.002


def verified_sample(split: "Split", resolution: int) -> "Split":
    """Evenly spaced images of a split, as many as VERIFIED_BYTES hold at a resolution."""
    pixels = max(split.resolution, resolution) ** 2
    most = max(VERIFIED_BYTES // (4 * pixels * split.source.channels), 1)
    if len(split) <= most:
        return split
    chosen = np.linspace(0, len(split) - 1, most).round().astype(int)
    return dataclasses.replace(split, indices=split.indices[chosen])


def resized_images(images: np.ndarray, architecture: Architecture) -> np.ndarray:
    """Images as the deployed subnet must be fed, float32 [N, resolution, resolution, channels]."""
    from qfa_tf.layers.execution import resize

    return resize(images, architecture.resolution).numpy()


def broken_promises(record: ModelRecord) -> list[str]:
    """What an exported model does not keep of the two promises, as sentences."""
    report, broken = record.verification, []
    if report["mismatches"]:
        broken.append(f"{report['mismatches']} integers of LiteRT differ from the simulation.")
    if report["top1_agreement"] < MIN_AGREEMENT:
        broken.append(
            f"LiteRT and Keras agree on {100 * report['top1_agreement']:.2f} % of the images, less "
            f"than {100 * MIN_AGREEMENT:.1f} %."
        )
    difference = abs(record.accuracy["litert"] - record.accuracy["keras"])
    if difference > MAX_ACCURACY_DIFFERENCE:
        broken.append(
            f"The accuracies of LiteRT and Keras differ by {100 * difference:.2f} points, more "
            f"than {100 * MAX_ACCURACY_DIFFERENCE:.1f}."
        )
    return broken
