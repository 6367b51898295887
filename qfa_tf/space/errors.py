"""What can be wrong with a search space, a genome or an architecture."""

from qfa_tf.network.errors import InvalidSpaceError
from quantize_configs.errors import InvalidInputError

__all__ = ["ArchitectureError", "GenomeError", "InvalidSpaceError"]


class GenomeError(InvalidInputError):
    """An array is no genome of this search space."""


class ArchitectureError(InvalidInputError):
    """An architecture does not belong to this search space, or the text of one cannot be read."""
