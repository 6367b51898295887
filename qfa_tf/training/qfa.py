"""The QFA training recipe as data: stages, subnets per step, distillation."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from qfa_tf.space import Architecture
from qfa_tf.training.options import StageOptions, TrainingOptions
from qfa_tf.training.step import BoundTraining
from quantize_configs.bit_widths import BitWidths
from quantize_configs.errors import InvalidInputError, InvalidTypeError
from quantize_configs.fake_quantization import FLOAT_BITS
from quantize_configs.keras_backend import keras
from quantize_configs.options import check_options, same_option


@dataclasses.dataclass(frozen=True)
class TrainingStage:
    """A part of the training with its own list of bits.

    Attributes:
      bits: Bit-widths that subnets may draw, out of those of the space; 32 is float, and (32,)
        alone makes a warm-up of the float supernet.
      steps: Number of steps; None in the last stage, which has no end.
      subnets: "all" (smallest, largest and random subnets), or, in a float warm-up, "largest":
        the largest one alone.
    """

    bits: tuple[int, ...]
    steps: int | None = None
    subnets: str = same_option(StageOptions, "subnets")

    def __post_init__(self):
        object.__setattr__(self, "bits", tuple(self.bits))
        if not self.is_float:
            BitWidths.parse(self.bits)
        if self.steps is not None and self.steps < 1:
            raise InvalidInputError(f"steps of a stage must be at least 1. Received: {self.steps}.")
        check_options(self)
        if self.subnets == "largest" and not self.is_float:
            raise InvalidInputError(
                "A stage with subnets='largest' is a float warm-up and has bits (32,). Received: "
                f"{self.bits}."
            )

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized in this stage."""
        return self.bits == (FLOAT_BITS,)


@keras.saving.register_keras_serializable(package="qfa_tf")
@dataclasses.dataclass(frozen=True)
class QFATraining:
    """Recipe of one supernet training (Quantized-for-all, NeurIPS 2021).

    In every step the smallest, the largest and some random subnets learn on the same images, from
    the labels and from a teacher; their gradients are summed. The teacher is a frozen network
    (`distillation="external"`, the paper), or the float largest subnet of the supernet itself,
    which learns from the labels at the start of each step ("in_place", BigNAS).

    With an `architecture` every step trains that one subnet instead, from scratch or from weights
    that the supernet has. Its weights are those that the supernet has for it: kernels smaller than
    the largest one are still its centre behind the learned transforms. All other weights get no
    gradient, only weight decay. In float stages the bits that can be chosen are 32, in all others
    they are its own. Its "in_place" teacher is its float twin, the same network with 32 bits; where
    that is no other network than the one that is trained, there is no teacher.

    Attributes:
      stages: At least one; the paper's two stages have bits (2, 3, 4, 32), then (2, 3, 4).
      architecture: The one subnet to train. `random_subnets` and the `subnets` of the stages mean
        nothing then, and of their bits only whether they are (32,).
      random_subnets: Random subnets per step, besides the smallest and the largest.
      distillation: "in_place", "external" or "none".
      distillation_weight: Weight of the cross-entropy with the teacher's probabilities.
      teacher: With "external", a function from images, float32 [N, H, W, channels] at the
        resolution of the training batches, to logits [N, num_classes]; None for the model that the
        supernet was made from.
      label_smoothing: Share of the label spread over all classes.
      weight_decay: L2 coefficient of kernels and kernel transforms only.
      clip_norm: Largest global norm of the summed gradient.
      compute_dtype: "float32", or "bfloat16" for convolutions and activations; quantizers,
        normalization statistics, loss and weights stay in float32.
      seed: Of the subnets and of dropout.
    """

    stages: tuple[TrainingStage, ...] = (TrainingStage((2, 3, 4, 8)),)
    architecture: Architecture | None = None
    random_subnets: int = same_option(TrainingOptions, "random_subnets")
    distillation: str = same_option(TrainingOptions, "distillation")
    distillation_weight: float = same_option(TrainingOptions, "distillation_weight")
    teacher: Callable[[tf.Tensor], tf.Tensor] | None = None
    label_smoothing: float = same_option(TrainingOptions, "label_smoothing")
    weight_decay: float = same_option(TrainingOptions, "weight_decay")
    clip_norm: float = same_option(TrainingOptions, "clip_norm")
    compute_dtype: str = same_option(TrainingOptions, "compute_dtype")
    seed: int = same_option(TrainingOptions, "seed")

    def __post_init__(self):
        stages = tuple(self.stages) if isinstance(self.stages, Iterable) else (self.stages,)
        object.__setattr__(self, "stages", stages)
        if not all(isinstance(stage, TrainingStage) for stage in stages):
            raise InvalidTypeError(
                "stages must be made of TrainingStage, as in (TrainingStage((2, 3, 4)),). "
                f"Received: {self.stages!r:.200}."
            )
        if not self.stages or any(stage.steps is None for stage in self.stages[:-1]):
            raise InvalidInputError(
                "stages must hold at least one TrainingStage, and all but the last one need "
                f"steps. Received: {self.stages}."
            )
        if not isinstance(self.architecture, Architecture | None):
            raise InvalidTypeError(
                "architecture must be an Architecture, such as Architecture.from_json(text), or "
                f"None. Received: {self.architecture!r}."
            )
        check_options(self)
        is_given = self.teacher is not None
        if is_given and not (callable(self.teacher) and self.distillation == "external"):
            raise InvalidInputError(
                "distillation='external' takes a teacher, a function from images to logits, and "
                f"nothing else does. Received: {self.distillation!r} and teacher={self.teacher!r}."
            )

    def get_config(self) -> dict[str, Any]:
        """The fields as plain values, for files of Keras; a teacher is left out."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del config["teacher"]
        config["stages"] = [
            {**dataclasses.asdict(stage), "bits": list(stage.bits)} for stage in self.stages
        ]
        if self.architecture is not None:
            config["architecture"] = self.architecture.to_json()
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "QFATraining":
        """The recipe of `get_config`."""
        fields = dict(config)
        fields["stages"] = tuple(TrainingStage(**stage) for stage in fields["stages"])
        if fields["architecture"] is not None:
            fields["architecture"] = Architecture.from_json(fields["architecture"])
        return cls(**fields)

    def bind(self, net) -> BoundTraining:
        """The training of one supernet.

        Raises:
          ArchitectureError: `architecture` is of another space.
          InvalidInputError: There is no external teacher, and the net was made from no model.
        """
        if self.distillation != "external" or self.teacher is not None:
            return BoundTraining(self, net)
        if net.model_start is None:
            raise InvalidInputError(
                "distillation='external' needs a teacher, a function from images to logits: "
                "QFATraining(..., teacher=...). Only a supernet of QFASupernet.from_model has one, "
                "its model."
            )
        return dataclasses.replace(self, teacher=net.teacher).bind(net)
