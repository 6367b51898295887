"""What a training step knows of the recipe it follows."""

from collections.abc import Callable
from typing import Protocol

import tensorflow as tf

from qfa_tf.space import Architecture


class Stage(Protocol):
    """A `TrainingStage`, described without importing it."""

    @property
    def bits(self) -> tuple[int, ...]:
        """Bit-widths that subnets may draw."""

    @property
    def steps(self) -> int | None:
        """Number of steps; None in the last stage."""

    @property
    def subnets(self) -> str:
        """Which subnets learn: "all" or "largest"."""

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized."""


class Recipe(Protocol):
    """A `QFATraining`, which says what each of these means; it imports the step that follows it."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """At least one."""

    @property
    def architecture(self) -> Architecture | None:
        """The one subnet to train."""

    @property
    def random_subnets(self) -> int:
        """Random subnets per step."""

    @property
    def distillation(self) -> str:
        """The kind of teacher: "in_place", "external" or "none"."""

    @property
    def distillation_weight(self) -> float:
        """Weight of the cross-entropy with the teacher's probabilities."""

    @property
    def teacher(self) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """An external teacher."""

    @property
    def label_smoothing(self) -> float:
        """Share of the label spread over all classes."""

    @property
    def weight_decay(self) -> float:
        """L2 coefficient."""

    @property
    def clip_norm(self) -> float:
        """Largest global norm of the summed gradient."""

    @property
    def compute_dtype(self) -> str:
        """Of convolutions and activations: "float32" or "bfloat16"."""

    @property
    def seed(self) -> int:
        """Of the subnets and of dropout."""
