"""Input pipelines that depend on nothing but (seed, step), so that a resumed run continues them."""

import numpy as np
import tensorflow as tf

from qfa_tf.data.augmentation import Augmentation
from qfa_tf.data.cropping import ATTEMPTS, FixedRegion, RandomRegion
from qfa_tf.data.sources import as_float, as_it_stands
from qfa_tf.data.split import Split
from qfa_tf.data.transforms import CROP_STREAM, transform
from quantize_configs.arguments import instance, whole_number
from quantize_configs.errors import InvalidInputError


def training_batches(
    split: Split,
    batch_size: int,
    *,
    seed: int,
    first_step: int = 0,
    augmentation: Augmentation | None = None,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Endless batches of shuffled, augmented training images.

    Batch number `step` is the same in every run, wherever the run was resumed: each epoch is a
    permutation drawn from (seed, epoch), and what happens to an image comes from (seed, step) and
    its place in the batch.

    Args:
      split: Training images.
      batch_size: Images per batch, over all shards; at most the number of images. What is left at
        the end of an epoch is not used in that epoch.
      seed: Any int.
      first_step: Number of the first batch.
      augmentation: Random changes of the images; None for none.
      shard: (index, count): only the index-th of `count` equal parts of each batch, for one of
        several workers. The parts of all workers together are the batch of one.

    Returns:
      Dataset of (images float32 [batch_size / count, resolution, resolution, channels] in [0, 1],
      labels int32).

    Raises:
      InvalidInputError: The batch is larger than the split or cannot be shared out, or the
        augmentation does not fit the images.
    """
    instance("split", split, Split, "load(name, resolution).train")
    whole_number("batch_size", batch_size, 1)
    whole_number("seed", seed, None)
    whole_number("first_step", first_step)
    augmentation = Augmentation() if augmentation is None else augmentation
    instance("augmentation", augmentation, Augmentation, "Augmentation(flip=True)")
    augmentation.check(split.image_shape)
    if batch_size > len(split):
        raise InvalidInputError(
            f"batch_size must be between 1 and the {len(split)} images. Received: {batch_size}."
        )
    first, last = _places(batch_size, shard)
    requests = _shuffled_requests(split.indices, batch_size, seed, first_step, first, last)

    def draw(step, stream, shape, **kwargs):
        key = tf.stack([seed + (stream << 30), step])
        return tf.random.stateless_uniform([batch_size, *shape], key, **kwargs)[first:last]

    region: FixedRegion | RandomRegion = FixedRegion(split.resolution, split.eval_crop)
    if augmentation.random_resized_crop is not None:
        region = RandomRegion(augmentation.random_resized_crop)

        @as_it_stands
        def with_uniforms(request):
            uniforms = draw(request["step"][0], CROP_STREAM, [ATTEMPTS, 4])
            return {**request, "uniforms": uniforms}

        requests = requests.map(with_uniforms)

    @as_it_stands
    def finish(request):
        step = request["step"][0]
        images = transform(
            as_float(request["image"]),
            augmentation,
            lambda stream, shape, **kwargs: draw(step, stream, shape, **kwargs),
        )
        return images, request["label"]

    read = split.source.read(requests, last - first, split.resolution, region)
    return read.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def _places(batch_size: int, shard: tuple[int, int]) -> tuple[int, int]:
    """The first place of the shard in a batch and the one after its last."""
    index, count = shard if isinstance(shard, tuple | list) and len(shard) == 2 else (0, 0)
    if count < 1 or not 0 <= index < count:
        raise InvalidInputError(
            f"shard must be (index, count) with 0 <= index < count. Received: {shard}."
        )
    if batch_size % count:
        raise InvalidInputError(
            f"batch_size must be a multiple of the {count} shards. Received: {batch_size}."
        )
    size = batch_size // count
    return index * size, (index + 1) * size


def _shuffled_requests(
    indices: np.ndarray, batch_size: int, seed: int, first_step: int, first: int, last: int
) -> tf.data.Dataset:
    """{"index": int64 [last - first], "step": int64 [last - first]} of batch after batch."""
    per_epoch = len(indices) // batch_size
    with tf.init_scope(), tf.device("CPU:0"):
        table = tf.constant(indices, tf.int64)

    @as_it_stands
    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(indices)), seed=tf.stack([tf.constant(seed, tf.int64), number])
        )
        places = tf.reshape(order[: per_epoch * batch_size], [per_epoch, batch_size])
        chosen = tf.gather(table, places[:, first:last])
        steps = number * per_epoch + tf.range(per_epoch, dtype=tf.int64)
        steps = tf.repeat(steps[:, None], last - first, axis=1)
        done = tf.maximum(first_step - steps[0, 0], 0)
        return tf.data.Dataset.from_tensor_slices({"index": chosen[done:], "step": steps[done:]})

    return tf.data.Dataset.counter(first_step // per_epoch).flat_map(epoch)
