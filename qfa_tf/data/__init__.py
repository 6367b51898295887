"""Image data sets in four splits, and reproducible input pipelines."""

from qfa_tf.data.datasets import DATASETS, load_dataset
from qfa_tf.data.pipeline import batches, training_batches
from qfa_tf.data.splits import DataSplits, Split

__all__ = ["DATASETS", "DataSplits", "Split", "batches", "load_dataset", "training_batches"]
