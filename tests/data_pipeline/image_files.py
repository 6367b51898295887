"""Synthetic images and their files."""

import numpy as np
import tensorflow as tf


def smooth_images(count, height, width, channels, seed=0):
    """uint8 images that survive JPEG."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, 4, channels))
    return tf.image.resize(coarse, (height, width)).numpy().astype(np.uint8)


def write_images(folder, images, encode=tf.io.encode_png, ending="png"):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        (folder / f"{number:03}.{ending}").write_bytes(encode(image).numpy())
