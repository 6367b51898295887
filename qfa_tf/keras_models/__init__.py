"""Keras models as descriptions of networks, with their trained values."""

from qfa_tf.keras_models.loading import as_model
from qfa_tf.keras_models.reading import ModelReading, read_model
from qfa_tf.keras_models.site_values import SiteValues

__all__ = ["ModelReading", "SiteValues", "as_model", "read_model"]
