"""What the loaders raise."""


class DataError(ValueError):
    """A data set is missing, damaged, or not what was asked for; the message says what to do."""
