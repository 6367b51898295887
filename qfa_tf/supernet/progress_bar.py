"""The progress bar of `fit`: losses and accuracies of the subnets, not every figure there is."""

import math

import tensorflow as tf

from quantize_configs.keras_backend import keras


class SupernetProgressBar(keras.callbacks.ProgbarLogger):
    """Shows the loss, and the accuracy of the smallest and the largest subnet (or the only one)."""

    def __init__(self):
        super().__init__(count_mode="steps")

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Shows the means of the epoch so far."""
        super().on_train_batch_end(batch, self._shown(logs) if self.verbose == 1 else None)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Shows the means of the epoch and those of the validation."""
        super().on_epoch_end(epoch, self._shown(logs))

    def _shown(self, logs: dict | None) -> dict[str, float]:
        """What matters of the logs, without the subnets that the stage does not train."""
        shown = {}
        for key, value in (logs or {}).items():
            name = key.removeprefix("val_")
            if name == "loss" or (name.endswith("_accuracy") and not name.startswith("teacher")):
                number = float(tf.convert_to_tensor(value))
                if not math.isnan(number):
                    shown[key.replace("_accuracy", "")] = number
        self.stateful_metrics: set[str] = {*self.stateful_metrics, *shown}  # means already
        return shown
