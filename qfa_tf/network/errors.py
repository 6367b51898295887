"""What can be wrong with a description of a network."""

from quantize_configs.errors import InvalidInputError


class InvalidSpaceError(InvalidInputError):
    """A search space or its network contradicts itself, or the text of one cannot be read."""
