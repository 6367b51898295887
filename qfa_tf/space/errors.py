"""What can be wrong with a search space, a genome or an architecture."""


class InvalidSpaceError(ValueError):
    """A search space contradicts itself, or the text of one cannot be read."""


class GenomeError(ValueError):
    """An array is no genome of this search space."""


class ArchitectureError(ValueError):
    """An architecture does not belong to this search space, or the text of one cannot be read."""
