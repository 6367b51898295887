"""Input pipelines that depend on nothing but (seed, step), so that a resumed run continues them."""

import tensorflow as tf

from qfa_tf.data.splits import Split


def training_batches(
    split: Split, batch_size: int, *, seed: int, first_step: int = 0, max_shift: int = 0
) -> tf.data.Dataset:
    """Endless batches of shuffled, randomly shifted training images.

    Batch number `step` is the same in every run, wherever the run was resumed: each epoch is a
    permutation drawn from (seed, epoch), each shift comes from (seed, step).

    Args:
      split: Training images, held in memory.
      batch_size: Images per batch; at most the number of images.
      seed: Any int.
      first_step: Number of the first batch.
      max_shift: Largest shift in pixels, in each direction; edges are repeated.

    Returns:
      Dataset of (images float32, labels int32).

    Raises:
      ValueError: The batch is larger than the split.
    """
    if not 0 < batch_size <= len(split):
        raise ValueError(
            f"batch_size must be between 1 and the {len(split)} images. Received: {batch_size}."
        )
    images, labels = tf.constant(split.images), tf.constant(split.labels)
    per_epoch = len(split) // batch_size

    def batch(step):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(split)), seed=tf.stack([tf.constant(seed, tf.int64), step // per_epoch])
        )
        start = tf.cast(step % per_epoch, tf.int32) * batch_size
        chosen = order[start : start + batch_size]
        shifted = _shift(tf.gather(images, chosen), max_shift, tf.stack([seed + (1 << 30), step]))
        return shifted, tf.gather(labels, chosen)

    steps = tf.data.Dataset.counter(first_step)
    return steps.map(batch, num_parallel_calls=2, deterministic=True).prefetch(2)


def batches(split: Split, batch_size: int) -> tf.data.Dataset:
    """The images in order, once; the last batch may be smaller."""
    return tf.data.Dataset.from_tensor_slices((split.images, split.labels)).batch(batch_size)


def _shift(images: tf.Tensor, most: int, seed: tf.Tensor) -> tf.Tensor:
    if not most:
        return images
    count, size = tf.shape(images)[0], images.shape[1]
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]], "SYMMETRIC")
    offsets = tf.random.stateless_uniform([count, 2], seed, 0, 2 * most + 1, tf.int32)
    rows = offsets[:, :1] + tf.range(size)
    columns = offsets[:, 1:] + tf.range(size)
    moved = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.ensure_shape(tf.gather(moved, columns, axis=2, batch_dims=1), images.shape)
