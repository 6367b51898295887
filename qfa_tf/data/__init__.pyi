from .augmentation import Augmentation
from .data_splits import DataSplits
from .errors import DataError
from .loading import DATASETS, load
from .pipeline import training_batches
from .split import Split, batches

__all__ = [
    "DATASETS",
    "Augmentation",
    "DataError",
    "DataSplits",
    "Split",
    "batches",
    "load",
    "training_batches",
]
