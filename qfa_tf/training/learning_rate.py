"""The learning rate over the stages of a training."""

import dataclasses
import math
from collections.abc import Sequence

import tensorflow as tf

from quantize_configs.errors import InvalidInputError
from quantize_configs.keras_backend import keras


@dataclasses.dataclass(frozen=True)
class CosineSegment:
    """A linear warm-up and a cosine down to 0.

    Attributes:
      steps: Length, the warm-up included.
      learning_rate: Reached at the end of the warm-up.
      warmup_steps: Length of the warm-up, below `steps`.
      warmup_learning_rate: Where the warm-up starts.
    """

    steps: int
    learning_rate: float
    warmup_steps: int = 0
    warmup_learning_rate: float = 0.0

    def __post_init__(self):
        rates = (self.learning_rate, self.warmup_learning_rate)
        if not all(map(math.isfinite, rates)) or rates[0] <= 0 or rates[1] < 0:
            raise InvalidInputError(
                "learning_rate must be above 0, warmup_learning_rate at least 0. Received: "
                f"{self.learning_rate} and {self.warmup_learning_rate}."
            )
        if not 0 <= self.warmup_steps < self.steps:
            raise InvalidInputError(
                f"warmup_steps must be in [0, steps). Received: {self.warmup_steps} and "
                f"{self.steps}."
            )

    def schedule(self) -> keras.optimizers.schedules.CosineDecay:
        """The segment alone, from step 0."""
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=(
                self.warmup_learning_rate if self.warmup_steps else self.learning_rate
            ),
            decay_steps=self.steps - self.warmup_steps,
            warmup_target=self.learning_rate if self.warmup_steps else None,
            warmup_steps=self.warmup_steps,
        )


class StagedCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Cosine segments one after another, as the stages of QFA have them; 0 after the last one.

    Args:
      segments: At least one.
    """

    def __init__(self, segments: Sequence[CosineSegment]):
        if not segments:
            raise InvalidInputError("StagedCosine needs at least one CosineSegment. Received none.")
        self.segments = tuple(segments)
        self._schedules = [segment.schedule() for segment in self.segments]

    def __call__(self, step):
        """Learning rate of a step, float32 scalar."""
        step = tf.cast(step, tf.float32)
        rates, start, index = [], 0, tf.zeros([], tf.int32)
        for segment, schedule in zip(self.segments, self._schedules, strict=True):
            rates.append(schedule(tf.clip_by_value(step - start, 0.0, float(segment.steps))))
            start += segment.steps
            index += tf.cast(step >= start, tf.int32)
        return tf.gather(tf.stack(rates), tf.minimum(index, len(rates) - 1))

    def get_config(self):
        """Constructor arguments."""
        return {"segments": [dataclasses.asdict(segment) for segment in self.segments]}

    @classmethod
    def from_config(cls, config):
        """Rebuilds what `get_config` described."""
        return cls([CosineSegment(**segment) for segment in config["segments"]])


def current_rate(optimizer: keras.optimizers.Optimizer) -> tf.Tensor:
    """The learning rate of the next step, float32 scalar."""
    rate = optimizer.learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(optimizer.iterations)
    return tf.cast(tf.convert_to_tensor(rate), tf.float32)


def check_rate(optimizer: keras.optimizers.Optimizer) -> None:
    """Refuses a first learning rate that no training can have.

    Raises:
      InvalidInputError: It is not finite, or below 0.
    """
    rate = float(current_rate(optimizer))
    if not math.isfinite(rate) or rate < 0:
        raise InvalidInputError(
            f"The learning rate of the optimizer must be finite and at least 0. Received: {rate}."
        )
