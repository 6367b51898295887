"""Image data sets in four splits, and reproducible input pipelines."""

from qfa_tf.data.augmentation import Augmentation
from qfa_tf.data.data_splits import DataSplits
from qfa_tf.data.errors import DataError
from qfa_tf.data.loading import DATASETS, load
from qfa_tf.data.pipeline import training_batches
from qfa_tf.data.split import Split, batches

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
