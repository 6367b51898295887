"""The smallest recipe that goes through all that a training does; for tests and reliability.py."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from qfa_tf.space import Head, SearchSpace, Stage, Stem


def small_space(num_classes: int = 10, name: str = "small") -> SearchSpace:
    """One stage of two or three blocks at 8 pixels, with 4 or 8 bits."""
    return SearchSpace(
        name=name,
        resolutions=(8,),
        stem=Stem(4, 3, 1, "relu6"),
        stages=(Stage(8, 2, (1,), (3,), (2, 3), "relu6"),),
        head=Head(16, None, "relu"),
        weight_bits=(4, 8),
        activation_bits=(4, 8),
        fixed_bits={"stem": (8, 8), "classifier": (8, 8)},
        input_channels=1,
        num_classes=num_classes,
        width_divisor=4,
    )


def small_config(space: SearchSpace, data: str, training: Mapping[str, Any]) -> ConfigDict:
    """A recipe of that space, with a search of eight subnets.

    Args:
      space: Of the supernet.
      data: Name of the images, see `qfa_tf.data.load`.
      training: Batch size, stages and steps, and what else differs from the settings here.
    """
    return ConfigDict(
        {
            "space": ConfigDict(json.loads(space.to_json())),
            "data": {"name": data, "max_shift": 1, "calibration_batches": 3},
            "training": {
                "steps_per_epoch": 4,
                "learning_rate": 0.05,
                "warmup_steps": 2,
                "momentum": 0.9,
                "clip_norm": 5.0,
                "weight_decay": 1e-4,
                "random_subnets": 1,
                "distillation": "in_place",
                "label_smoothing": 0.1,
                "probe_epochs": 2,
                "seed": 3,
                **training,
            },
            "search": {
                "constraints": ("mflops_8bit<=0.03",),
                "objective": "mflops_8bit",
                "population": 4,
                "generations": 2,
                "max_bits": 8,
                "seed": 1,
            },
        }
    )
