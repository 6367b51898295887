"""What can go wrong with a cost."""

from quantize_configs.errors import DamagedFileError, UnsupportedError


class CostUnavailableError(UnsupportedError):
    """A cost is not known for this space, or nothing was given to compute it from."""


class LatencyTableError(DamagedFileError):
    """A latency table is damaged, of another schema version, or misses rows."""
