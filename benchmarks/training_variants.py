"""What the trainings of `equal_steps.py` change, one thing each."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from site_ideas import matched_sites, steps_of_channels
from training_ideas import (
    Changed,
    distance_from_codes,
    far_from_uniform,
    penalty,
    slower_grids,
)

from qfa_tf import QFASupernet

CALIBRATION_BATCHES = 30
STAGE_STEPS = (250, 500)


@dataclasses.dataclass(frozen=True)
class Variant:
    """What a training changes.

    Attributes:
      supernet: Options of `QFASupernet`.
      training: Options of `TrainingIdea`, among them those of `QFATraining`.
      optimizer: Options of the optimizer.
      rate: What the learning rates are multiplied by.
      sites: Changes what the sites of the net compute, before it is compiled.
      changed: From the net and the number of all steps to what changes the gradients of a step.
      calibration_batches: Of each subnet that is measured.
      trained_as: The variant that has the same training.
      what: For people.
    """

    what: str
    supernet: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rate: float = 1.0
    sites: Callable[[QFASupernet], None] | None = None
    changed: Callable[[QFASupernet, int], Changed] | None = None
    calibration_batches: int = CALIBRATION_BATCHES
    trained_as: str = ""


VARIANTS = {
    "base": Variant("the defaults of this library, with the recipe of the release"),
    "classifier_fan_out": Variant(
        "classifier by the fan-out rule", supernet={"classifier_start": "fan_out"}
    ),
    "depthwise_own_channel": Variant(
        "depthwise kernels by the fan-out of one channel",
        supernet={"depthwise_start": "own_channel"},
    ),
    "epsilon_1e-5": Variant("epsilon of normalization 1e-5", supernet={"norm_epsilon": 1e-5}),
    "epsilon_1e-3": Variant("epsilon of normalization 1e-3", supernet={"norm_epsilon": 1e-3}),
    "epsilon_3e-2": Variant("epsilon of normalization 3e-2", supernet={"norm_epsilon": 3e-2}),
    "constant_passed": Variant(
        "gradient of constant channels passed", supernet={"constant_channels": "passed"}
    ),
    "as_landed": Variant(
        "classifier by fan-out, epsilon 1e-5, constant channels passed",
        supernet={
            "classifier_start": "fan_out",
            "norm_epsilon": 1e-5,
            "constant_channels": "passed",
        },
    ),
    "factors_over_range": Variant(
        "grids of activations start over the whole range", supernet={"factor_start": "range"}
    ),
    "weight_steps_lsq": Variant(
        "grids of weights start by LSQ's rule", supernet={"weight_start": "lsq"}
    ),
    "residual_gain_1": Variant("residual branches start in full", supernet={"residual_gain": 1.0}),
    "residual_gain_0.25": Variant(
        "residual branches start at a quarter", supernet={"residual_gain": 0.25}
    ),
    "starts_of_the_paper": Variant(
        "grids over the range, weight steps by LSQ, residual branches in full: as in the release",
        supernet={"factor_start": "range", "weight_start": "lsq", "residual_gain": 1.0},
    ),
    "fractional": Variant("fractional zero points", supernet={"zero_point": "fractional"}),
    "symmetric": Variant("symmetric padding", supernet={"padding": "symmetric"}),
    "min_max": Variant("ranges from extremes", supernet={"estimator": "min_max"}),
    "sample_mean": Variant("ranges from sample means", supernet={"estimator": "sample_mean"}),
    "lsq": Variant("learned activation grids (LSQ)", supernet={"activation_quantizer": "lsq"}),
    "pact": Variant("learned activation grids (PACT)", supernet={"activation_quantizer": "pact"}),
    "teacher": Variant(
        "float largest subnet as the teacher, a seventh subnet per step",
        training={"distillation": "in_place"},
    ),
    "teacher_in_place_of_one": Variant(
        "float largest subnet as the teacher, in place of one random subnet",
        training={"distillation": "in_place", "random_subnets": 3},
    ),
    "rate_half": Variant("half the learning rates", rate=0.5),
    "rate_2": Variant("twice the learning rates", rate=2.0),
    "rate_4": Variant("four times the learning rates", rate=4.0),
    "clip_10": Variant("clip norm 10", training={"clip_norm": 10.0}),
    "no_smoothing": Variant("labels not smoothed", training={"label_smoothing": 0.0}),
    "ema_0.98": Variant(
        "exponential mean of weights", optimizer={"use_ema": True, "ema_momentum": 0.98}
    ),
    "calibration_4": Variant(
        "4 batches of 64 to calibrate with", calibration_batches=4, trained_as="base"
    ),
    "calibration_120": Variant(
        "120 batches of 64 to calibrate with", calibration_batches=120, trained_as="base"
    ),
    "more_bits_weigh_more": Variant(
        "gradients of subnets multiplied by their mean bits / 3", training={"by_bits": 1.0}
    ),
    "fewer_bits_weigh_more": Variant(
        "gradients of subnets multiplied by 3 / their mean bits", training={"by_bits": -1.0}
    ),
    "teacher_4_bits": Variant(
        "largest subnet at 4 bits as the teacher, a seventh subnet per step",
        training={"distillation": "in_place", "teacher_bits": 4},
    ),
    "teacher_softer_for_few_bits": Variant(
        "float largest subnet as the teacher, its logits divided by 4 / mean bits",
        training={"distillation": "in_place", "soft_labels": 1.0},
    ),
    "no_sandwich": Variant(
        "six random subnets per step, none of them the smallest or largest",
        training={"ends": "random"},
    ),
    "ends_with_free_bits": Variant(
        "the smallest and the largest subnet of a step with bits of their own for each site",
        training={"ends": "free_bits"},
    ),
    "depthwise_3_bits": Variant(
        "depthwise sites never below 3 bits, trained and measured so",
        training={"least_depthwise_bits": 3},
    ),
    "sites_at_boundaries_rest": Variant(
        "2 bits of the sixth of the sites with most weights at boundaries of rounding rest from "
        "half of the steps to 85 % of them",
        training={"rested": 1 / 6, "steps": sum(STAGE_STEPS)},
    ),
    "few_bits_steps_slower": Variant(
        "rates of grids of 2 and 3 bits a quarter and half of those of 4",
        changed=slower_grids({2: 0.25, 3: 0.5}),
    ),
    "more_bits_steps_slower": Variant(
        "rates of grids of 3 and 4 bits half and a quarter of those of 2",
        changed=slower_grids({3: 0.5, 4: 0.25}),
    ),
    "codes_attract": Variant(
        "weights are drawn to the codes of 2 bits, in the end by 1e-3 times their squared distance",
        changed=penalty(distance_from_codes, 1e-3),
    ),
    "flat_weights": Variant(
        "a penalty of 1e-3 (kurtosis - 1.8)^2 of each kernel, in the end",
        changed=penalty(far_from_uniform, 1e-3),
    ),
    "steps_of_channels": Variant(
        "weight steps per output channel, from one step per tensor on", sites=steps_of_channels
    ),
    "sites_match_float": Variant(
        "every site learns, with 0.1 times the mean squared difference, to put out what it does "
        "without quantizers",
        sites=matched_sites(0.1),
    ),
}
