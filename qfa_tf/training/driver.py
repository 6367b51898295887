"""What surrounds a training step outside the graph, in `fit` and in the programs alike."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import tensorflow as tf

from qfa_tf.training.divergence import Divergence, find_divergence
from qfa_tf.training.errors import DivergedError
from qfa_tf.training.guard import MOST_IN_A_ROW, first_not_finite
from quantize_configs.errors import QFAError
from quantize_configs.keras_backend import keras

if TYPE_CHECKING:
    from qfa_tf.supernet import QFASupernet

Logs = dict[str, tf.Tensor]


class TrainingDriver:
    """A train function of Keras with what belongs around every step.

    Before it, quantizers start where their time has come; after it, a few steps in a row that were
    not finite end the training, with the subnet and the site where that began.

    Args:
      net: Compiled.
      function: Trains one step on the next batch of an iterator.

    Attributes:
      function: As given.
    """

    def __init__(self, net: "QFASupernet", function: Callable[[Iterator], Logs]):
        self.function = function
        self._net = net
        self._reason = ""

    def __call__(self, batches: Iterator) -> Logs:
        """Trains one step; figures of a step that was skipped may be NaN.

        Raises:
          DivergedError: It was the last of some steps in a row that were not finite.
          InvalidInputError: The teacher does not fit.
        """
        net, method = self._net, self._net.training_method
        step = int(keras.backend.get_value(net.optimizer.iterations))
        method.begin_step(step)
        try:
            logs = self.function(batches)
        except Exception as error:
            # What is refused while the step is traced comes wrapped in an error of TensorFlow.
            if isinstance(error.__context__, QFAError):
                raise error.__context__ from None
            raise
        in_a_row = method.guard.settle()
        if in_a_row == 1:
            self._reason = first_not_finite(method.figures(step, logs))
        if in_a_row >= MOST_IN_A_ROW:
            raise self.diverged()
        return logs

    def diverged(self) -> DivergedError:
        """The error to raise where a training cannot go on after steps that were skipped."""
        # The weights are still those before the first of them.
        method = self._net.training_method
        count = method.guard.settle()
        first = int(keras.backend.get_value(self._net.optimizer.iterations)) - count
        message = (
            f"Training diverged at step {first + 1}: {self._reason}. "
            + (f"{count} steps in a row were" if count > 1 else "The step was")
            + " not applied."
        )
        found = self._find(first)
        if found is None and self._net.jit_compile and method.batch_source is None:
            message += (
                " XLA compiled the step, which keeps no images to repeat it with: compile with "
                "jit_compile=False to see where it begins."
            )
        elif found is None:
            message += (
                " Repeated, every value of the first of them was finite: suspect the sum of "
                "gradients, or the hardware."
            )
        else:
            message += f" Found on repeating the step: {found}"
        return DivergedError(f"{message} {method.advice}", first + 1, found)

    def _find(self, step: int) -> Divergence | None:
        method = self._net.training_method
        if method.batch_source is not None:
            shards = method.batch_source(step)
        else:
            noted = method.guard.first
            shards = [] if noted is None else [(noted.images, noted.labels)]
        return find_divergence(self._net, step, shards)


def without_driver(function: Callable[[Iterator], Logs]) -> Callable[[Iterator], Logs]:
    """The function that was given to a `TrainingDriver`, or the function itself."""
    return function.function if isinstance(function, TrainingDriver) else function
