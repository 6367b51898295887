"""What the loaders raise."""

from quantize_configs.errors import InvalidInputError


class DataError(InvalidInputError):
    """A data set is missing, damaged, or not what was asked for; the message says what to do."""
