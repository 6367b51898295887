"""What can be wrong with a search space, a genome or an architecture."""

from quantize_configs.errors import InvalidInputError


class InvalidSpaceError(InvalidInputError):
    """A search space contradicts itself, or the text of one cannot be read."""


class GenomeError(InvalidInputError):
    """An array is no genome of this search space."""


class ArchitectureError(InvalidInputError):
    """An architecture does not belong to this search space, or the text of one cannot be read."""
