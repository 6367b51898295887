"""The guard of the weights: a step that is not finite is never applied."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from quantize_configs.keras_backend import keras

MOST_IN_A_ROW = 5
"""Skipped steps after which a training ends. One alone can be a matter of a few images."""


class SkippedStep(NamedTuple):
    """The first of some skipped steps; weights have not changed since.

    Attributes:
      step: Number, from 0.
      images: Its images, those of a single replica.
      labels: Its labels.
    """

    step: int
    images: tf.Tensor
    labels: tf.Tensor


class StepGuard:
    """Applies the gradients of a step, or, where something is not finite, only counts the step.

    Attributes:
      in_a_row: How many steps up to the last one were skipped, int64 scalar.
      skipped: How many were skipped in all, int64 scalar.
      first: The first of the steps of `in_a_row`, where there is a single replica whose batches
        can be noted.
    """

    def __init__(self):
        self.in_a_row, self.skipped = (
            tf.Variable(
                0,
                trainable=False,
                dtype=tf.int64,
                name=name,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            for name in ("skipped_in_a_row", "skipped")
        )
        self.first: SkippedStep | None = None

    def apply(
        self,
        optimizer: keras.optimizers.Optimizer,
        gradients: Sequence[tf.Tensor],
        variables: Sequence[tf.Variable],
        is_finite: tf.Tensor,
        batch: tuple[tf.Tensor, tf.Tensor] | None,
    ) -> None:
        """Applies gradients or skips the step; the number of the step moves on in both cases.

        Args:
          optimizer: Its slots stay as they are when the step is skipped.
          gradients: Of all replicas together, in each replica.
          variables: In the same order.
          is_finite: bool scalar, the same in all replicas.
          batch: Images and labels; None where they cannot be noted, as XLA compiles the step.
        """
        replica = tf.distribute.get_replica_context()
        alone = replica.num_replicas_in_sync == 1

        def update(gradients):
            pairs = zip(gradients, variables, strict=True)
            optimizer.apply_gradients(pairs, skip_gradients_aggregation=not alone)

        if alone or not tf.distribute.get_strategy().extended._use_merge_call():

            def accept():
                update(gradients)
                return self._accept()

            def skip():
                if alone and batch is not None:
                    tf.py_function(self._note, [optimizer.iterations, *batch], [])
                return self._skip(optimizer)

            tf.cond(is_finite, accept, skip)
            return

        def across(strategy, gradients, is_finite):
            # A conditional update of several replicas must not begin in one of them.
            def accept():
                strategy.extended.call_for_each_replica(update, args=(gradients,))
                return self._accept()

            is_finite = strategy.experimental_local_results(is_finite)[0]
            tf.cond(is_finite, accept, lambda: self._skip(optimizer))

        replica.merge_call(across, args=(list(gradients), is_finite))

    def settle(self) -> int:
        """Call it after each step, outside of any graph; returns `in_a_row`."""
        in_a_row = int(keras.backend.get_value(self.in_a_row))
        if not in_a_row:
            self.first = None
        return in_a_row

    def _accept(self) -> tf.Tensor:
        self.in_a_row.assign(0)
        return tf.zeros([])

    def _skip(self, optimizer) -> tf.Tensor:
        optimizer.iterations.assign_add(1)
        self.in_a_row.assign_add(1)
        self.skipped.assign_add(1)
        return tf.zeros([])

    def _note(self, step: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> None:
        if self.first is None:
            self.first = SkippedStep(int(step), tf.identity(images), tf.identity(labels))


def all_finite(values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether every number of some tensors is finite in every replica, bool scalar."""
    broken = tf.add_n(
        [tf.reduce_sum(tf.cast(~tf.math.is_finite(value), tf.float32)) for value in values]
    )
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync > 1:
        broken = replica.all_reduce(tf.distribute.ReduceOp.SUM, broken)
    return tf.equal(broken, 0.0)


def first_not_finite(figures: dict[str, float]) -> str:
    """For people, such as "random_loss is nan"."""
    for name, value in figures.items():
        if not np.isfinite(value):
            return f"{name} is {value}"
    return "the sum of its gradients is nan"
