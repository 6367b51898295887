"""A file as `apps/export.py` writes it, from an extracted subnet; for tests of several folders."""

import json

import tflite_tools
from qfa_tf.runs.exporting.building import PIXEL_RANGE, described


def exported(subnet, arch):
    """Its bytes, with metadata of the usual lengths and classes with names of five letters."""
    name = f"{arch.space}-0123abcd"
    flatbuffer = tflite_tools.convert(
        subnet,
        input_type="uint8",
        pixel_range=PIXEL_RANGE,
        labels=[f"cat {number % 10}" for number in range(subnet.output_shape[-1])],
        metadata={
            "name": name,
            "architecture": json.loads(arch.to_json()),
            "checkpoint": "step-300-0123456789ab",
        },
    )
    accuracies = dict.fromkeys(("supernet", "keras", "litert"), 0.8898305084745762)
    accuracy = {"split": "test", "images": 400, "verified_images": 400, **accuracies}
    return described(flatbuffer, name, arch, accuracy)
