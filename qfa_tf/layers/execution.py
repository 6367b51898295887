"""How what a genome chose becomes tensors: cut to the chosen sizes, or whole with zeros.

`Sliced` cuts tensors to the channels and kernels that a subnet has, which costs least where shapes
may change from call to call. `Masked` leaves every tensor as large as it can be, with zeros where
the subnet has nothing: one static shape for all subnets, as compilers for accelerators ask for. A
channel that a subnet has not is exactly 0 wherever another layer reads it, and whatever reduces
over channels is told which ones count. Both give the same numbers to float rounding.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from qfa_tf.layers.kernel_transform import KernelTransform, centre_of
from quantize_configs.native.operators import native_operators, without_native_kernels


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels of a tensor that a subnet has.

    Attributes:
      sizes: Largest number of channels of each tensor that makes it up by concatenation; one
        elsewhere.
      counts: int32 [1] each, how many of them the subnet has; None where no genome can choose.
      width: int32 [1], array or tensor: channels of the tensor in the execution that made this.
      active: bool [C], which channels of the tensor count; None where all do.
    """

    sizes: tuple[int, ...]
    counts: tuple[tf.Tensor, ...] | None
    width: Any
    active: tf.Tensor | None = None

    @classmethod
    def fixed(cls, sizes: Sequence[int]) -> "Channels":
        """Channels that every subnet has."""
        return cls(tuple(sizes), None, np.array([sum(sizes)], np.int32))


class Sliced:
    """Tensors have the sizes of the subnet."""

    name = "sliced"
    has_static_shapes = False

    def channels(self, sizes: Sequence[int], counts: Sequence[tf.Tensor]) -> Channels:
        """The first `counts` (int32 [1] each) of `sizes` channels of each part of a tensor."""
        width = counts[0] if len(counts) == 1 else tf.add_n(list(counts))
        return Channels(tuple(sizes), tuple(counts), width)

    def take(self, values: tf.Tensor, axes: Mapping[int, Channels]) -> tf.Tensor:
        """The part of a weight that a subnet has.

        Args:
          values: Weight of static shape.
          axes: What the axes that are not negative hold, if a genome can choose it.
        """
        chosen = {axis: one for axis, one in axes.items() if one.counts is not None}
        if not chosen:
            return values
        leading = {axis: one.width for axis, one in chosen.items() if len(one.sizes) == 1}
        if leading:
            values = _leading_part(values, leading)
        for axis, one in chosen.items():
            if len(one.sizes) > 1:
                values = _leading_parts(values, axis, one)
        return values

    def keep(self, x: tf.Tensor, channels: Channels) -> tf.Tensor:
        """An activation [..., C] that is 0 in channels that the subnet has not."""
        del channels
        return x

    def kernel(
        self, kernel: tf.Tensor, channels: Channels, transform: KernelTransform, size: tf.Tensor
    ) -> tf.Tensor:
        """The part of the kernel of a depthwise site that a subnet has.

        Args:
          kernel: The largest one, [K, K, C, 1].
          channels: Of the output.
          transform: Makes smaller kernels.
          size: int32 scalar, which one is chosen.

        Returns:
          [k, k, C, 1], with the chosen size or that of the largest kernel as k.
        """
        kernels = transform.flat_kernels(self.take(kernel, {2: channels}))
        # All sizes are computed, which is cheaper than branches, and stand below each other.
        sizes = sorted(kernels)
        starts = [
            sum(other**2 for other in sizes if other < value) for value in range(sizes[-1] + 1)
        ]
        rows = tf.concat([kernels[one] for one in sizes], 0)
        width = tf.shape(rows)[1:]
        begin = tf.stack([tf.gather(starts, size), 0])
        rows = tf.slice(rows, begin, tf.concat([[size * size], width], 0))
        return tf.reshape(rows, tf.concat([[size, size], width, [1]], 0))

    def trained_kernel(
        self, kernel: tf.Tensor, channels: Channels, transform: KernelTransform, size: tf.Tensor
    ) -> tf.Tensor:
        """`kernel` to float32 rounding, by a native kernel where there is one."""
        native = native_operators()
        if native is None or kernel.dtype != tf.float32 or len(channels.sizes) > 1:
            return self.kernel(kernel, channels, transform, size)
        width = tf.convert_to_tensor(channels.width)
        return native.elastic_kernel(kernel, width, size, transform.matrices)

    def kernel_sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Sizes that the kernel of a site may have at run time, of those a genome may choose."""
        return tuple(sizes)

    def at_resolution(
        self,
        images: tf.Tensor,
        resolutions: Sequence[int],
        chosen: tf.Tensor,
        run: Callable[[tf.Tensor], Any],
    ) -> Any:
        """What `run` makes of images of the chosen resolution, an int32 scalar.

        Its results have the same shapes for all resolutions.
        """
        del resolutions
        return run(resize(images, chosen))

    def kernels(self) -> contextlib.AbstractContextManager:
        """What a pass is traced in: native kernels are for slices alone, XLA knows none."""
        return contextlib.nullcontext()

    def pack(self, values: tf.Tensor, channels: Channels) -> tf.Tensor:
        """Values [C] of channels with those that the subnet has in front."""
        del channels
        return values

    def unpack(self, values: tf.Tensor, channels: Channels) -> tf.Tensor:
        """The inverse of `pack`, from values of the largest width."""
        return values[: channels.width[0]]


class Masked:
    """Tensors have their largest sizes; what a subnet has not is 0. See `Sliced` for the methods.

    Smaller kernels stand in the middle of the largest one. Every resolution is a branch of its own.
    """

    name = "masked"
    has_static_shapes = True

    def channels(self, sizes: Sequence[int], counts: Sequence[tf.Tensor]) -> Channels:
        """See `Sliced.channels`."""
        masks = [tf.range(size) < count for size, count in zip(sizes, counts, strict=True)]
        active = masks[0] if len(masks) == 1 else tf.concat(masks, 0)
        return dataclasses.replace(Channels.fixed(sizes), counts=tuple(counts), active=active)

    def take(self, values: tf.Tensor, axes: Mapping[int, Channels]) -> tf.Tensor:
        """The whole weight, with zeros in place of what the subnet has not."""
        for axis, one in axes.items():
            if one.active is not None:
                shape = [-1 if own == axis else 1 for own in range(values.shape.rank)]
                values = values * tf.reshape(tf.cast(one.active, values.dtype), shape)
        return values

    def keep(self, x: tf.Tensor, channels: Channels) -> tf.Tensor:
        """See `Sliced.keep`."""
        return x if channels.active is None else x * tf.cast(channels.active, x.dtype)

    def kernel(
        self, kernel: tf.Tensor, channels: Channels, transform: KernelTransform, size: tf.Tensor
    ) -> tf.Tensor:
        """See `Sliced.kernel`."""
        kernels = transform.flat_kernels(self.take(kernel, {2: channels}))
        sizes = sorted(kernels)
        largest = sizes[-1]
        placed = [
            tf.matmul(tf.constant(centre_of(largest, one).T, kernels[one].dtype), kernels[one])
            for one in sizes[:-1]
        ]
        index = tf.gather(np.searchsorted(sizes, np.arange(largest + 1)).astype(np.int32), size)
        chosen = tf.gather(tf.stack([*placed, kernels[largest]]), index)
        return tf.reshape(chosen, [largest, largest, -1, 1])

    trained_kernel = kernel

    def kernel_sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """The largest alone."""
        return (max(sizes),)

    def at_resolution(
        self,
        images: tf.Tensor,
        resolutions: Sequence[int],
        chosen: tf.Tensor,
        run: Callable[[tf.Tensor], Any],
    ) -> Any:
        """See `Sliced.at_resolution`; one trace serves all, which XLA compiles for each."""
        if len(resolutions) == 1:
            return run(resize(images, resolutions[0]))
        shape = [images.shape[0], None, None, images.shape[3]]
        shared = tf.function(
            run, input_signature=[tf.TensorSpec(shape, images.dtype)], autograph=False
        ).get_concrete_function()
        index = tf.argmax(tf.equal(chosen, list(resolutions)), output_type=tf.int32)
        branches = [lambda one=one: shared(resize(images, one)) for one in resolutions]
        return tf.switch_case(index, branches)

    def kernels(self) -> contextlib.AbstractContextManager:
        """See `Sliced.kernels`."""
        return without_native_kernels()

    def pack(self, values: tf.Tensor, channels: Channels) -> tf.Tensor:
        """See `Sliced.pack`; zeros stand behind."""
        if channels.active is None:
            return values
        values = values * tf.cast(channels.active, values.dtype)
        if len(channels.sizes) == 1:
            return values
        return tf.math.unsorted_segment_sum(values, _ranks(channels.active), sum(channels.sizes))

    def unpack(self, values: tf.Tensor, channels: Channels) -> tf.Tensor:
        """See `Sliced.unpack`."""
        if channels.active is None or len(channels.sizes) == 1:
            return values
        return tf.gather(values, _ranks(channels.active)) * tf.cast(channels.active, values.dtype)


def resize(images: tf.Tensor, resolution: Any) -> tf.Tensor:
    """Bilinear resize to a square; what a deployed subnet must be fed with."""
    size = tf.stack([resolution, resolution])
    return tf.cast(tf.image.resize(images, size), images.dtype)


Execution = Sliced | Masked

EXECUTIONS: dict[str, Execution] = {one.name: one for one in (Sliced(), Masked())}
"""By the name that stands in options and recipes."""


def _leading_part(values: tf.Tensor, widths: dict[int, tf.Tensor]) -> tf.Tensor:
    """The first values along some axes, of a weight of static shape."""
    native = native_operators()
    if native is not None and values.dtype == tf.float32 and len(widths) <= 2:
        return native.take(values, widths)
    sizes = [widths.get(axis, tf.constant([size])) for axis, size in enumerate(values.shape)]
    return tf.slice(values, [0] * len(sizes), tf.concat(sizes, 0))


def _leading_parts(values: tf.Tensor, axis: int, channels: Channels) -> tf.Tensor:
    """Values whose axis holds the active channels of every part, one part behind the other."""
    assert channels.counts is not None
    active = [
        tf.gather(piece, tf.range(count[0]), axis=axis)
        for piece, count in zip(
            tf.split(values, channels.sizes, axis), channels.counts, strict=True
        )
    ]
    return tf.concat(active, axis)


def _ranks(active: tf.Tensor) -> tf.Tensor:
    """For each channel, how many active ones stand before it, int32 [C]."""
    return tf.cumsum(tf.cast(active, tf.int32), exclusive=True)
