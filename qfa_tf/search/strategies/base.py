"""The interface of a strategy."""

from typing import Any, ClassVar, Protocol

from qfa_tf.search.problem import SearchProblem


class Strategy(Protocol):
    """Decides which subnets are measured.

    A strategy is a frozen dataclass, so that its settings can be recorded. It takes all its
    randomness from `SearchProblem.rng` and all its knowledge from measurements, so that the same
    call does the same again.

    Attributes:
      name: For `--strategy` and files.
    """

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def evaluations(self) -> int:
        """Budget of exact evaluations when none is given."""

    def run(self, problem: SearchProblem) -> None:
        """Measures subnets until there is nothing left to try.

        Raises:
          BudgetSpent: The budget is used up.
        """
