"""What can go wrong in a training."""

from typing import TYPE_CHECKING

from quantize_configs.errors import QFAError

if TYPE_CHECKING:
    from qfa_tf.training.divergence import Divergence


class DivergedError(QFAError, ArithmeticError):
    """Several steps in a row were not finite; none of them was applied.

    Attributes:
      step: Number of the first of these steps, from 1.
      found: What was the first value not to be finite on repeating it; None when that is not known.
    """

    def __init__(self, message: str, step: int, found: "Divergence | None" = None):
        super().__init__(message)
        self.step = step
        self.found = found

    def __reduce__(self):
        """Errors travel from worker processes by pickle."""
        return type(self), (str(self), self.step, self.found)
