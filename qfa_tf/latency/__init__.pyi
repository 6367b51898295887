from .measurement import TableSettings, measure_latency_table

__all__ = [
    "TableSettings",
    "measure_latency_table",
]
