"""Parts of a tensor, such as `x[:, 1:-1, :, :8]`, as a layer."""

from collections.abc import Sequence

from quantize_configs.keras_backend import keras


class Slice(keras.layers.Layer):
    """The places `begin` to `end` of every axis but the batch; codes stay what they are.

    Args:
      begin: First places, from 0.
      end: Places behind the last, at most the sizes.
    """

    def __init__(self, begin: Sequence[int], end: Sequence[int], **options):
        super().__init__(**options)
        self.begin, self.end = tuple(map(int, begin)), tuple(map(int, end))

    def call(self, inputs):
        """Takes the part."""
        return inputs[(slice(None), *map(slice, self.begin, self.end))]

    def compute_output_shape(self, input_shape):
        """The sizes of the part."""
        sizes = (last - first for first, last in zip(self.begin, self.end, strict=True))
        return (input_shape[0], *sizes)

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "begin": self.begin, "end": self.end}
