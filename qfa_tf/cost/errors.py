"""What can go wrong with a cost."""


class CostUnavailableError(ValueError):
    """A cost is not known for this space, or nothing was given to compute it from."""


class LatencyTableError(ValueError):
    """A latency table is damaged, of another schema version, or misses rows."""
