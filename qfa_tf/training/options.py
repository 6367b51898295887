"""The options of a training, declared once, without TensorFlow.

`QFATraining`, `OQATraining` and `TrainingStage` check them; a recipe has them as
`config.training.*` with these choices.
"""

import dataclasses

from quantize_configs.inherited_grids import INHERITANCES
from quantize_configs.options import option

SUBNETS = ("all", "largest")
DISTILLATIONS = ("in_place", "external", "none")
COMPUTE_DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class StageOptions:
    """Options of `TrainingStage`."""

    subnets: str = option(
        "all",
        '"largest" trains the largest subnet alone, in a float stage',
        choices=SUBNETS,
    )


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """Options of `QFATraining`."""

    random_subnets: int = option(
        4, "random subnets per step, besides the smallest and the largest", minimum=0
    )
    distillation: str = option(
        "in_place",
        "teacher: the float largest subnet of the supernet, another network, or none",
        choices=DISTILLATIONS,
    )
    distillation_weight: float = option(
        1.0, "of the cross-entropy with the teacher's probabilities", minimum=0
    )
    label_smoothing: float = option(
        0.1, "share of the label spread over all classes", minimum=0, below=1
    )
    weight_decay: float = option(
        3e-5,
        "of kernels and kernel transforms; none for normalization, biases, quantizers",
        minimum=0,
    )
    clip_norm: float = option(
        500.0,
        "largest global norm of the summed gradient, after averaging over replicas",
        above=0,
    )
    compute_dtype: str = option(
        "float32",
        "of activations and convolutions; quantizers, statistics, loss and weights stay in float32",
        choices=COMPUTE_DTYPES,
    )
    seed: int = option(0, "of the subnets and of dropout", minimum=0, maximum=2**32 - 1)


@dataclasses.dataclass(frozen=True)
class InheritanceOptions:
    """Options of `OQATraining` besides those of `QFATraining`."""

    inheritance: str = option(
        "double",
        "how quantizers of fewer bits start from those of the net they start from",
        choices=INHERITANCES,
    )
