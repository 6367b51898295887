"""Crops of the photographs that scikit-learn and scikit-image bring."""

import numpy as np
import tensorflow as tf

COLOURED = (
    "astronaut",
    "chelsea",
    "coffee",
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "rocket",
)
GREY = ("brick", "camera", "coins", "grass", "gravel", "moon")
SMALLEST_SHARE = 0.4
"""Smallest side of a crop, as a share of the shorter side of the photograph."""


def photographs() -> list[np.ndarray]:
    """17 photographs, uint8 [height, width, 3]."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    images = [*load_sample_images().images]
    images += [getattr(skimage.data, name)()[..., :3] for name in COLOURED]
    images += skimage.data.stereo_motorcycle()[:2]
    images += [np.repeat(getattr(skimage.data, name)()[..., None], 3, -1) for name in GREY]
    return [np.asarray(image, np.uint8) for image in images]


def crops(size: int, per_photograph: int, seed: int) -> np.ndarray:
    """Random square crops, half of them mirrored, uint8 [17 * per_photograph, size, size, 3].

    Args:
      size: Of the crops after resizing.
      per_photograph: Crops of each photograph.
      seed: Other seeds, other crops.
    """
    rng = np.random.default_rng(seed)
    result = []
    for image in photographs():
        for _ in range(per_photograph):
            side = int(min(image.shape[:2]) * rng.uniform(SMALLEST_SHARE, 1.0))
            top, left = (rng.integers(0, length - side + 1) for length in image.shape[:2])
            crop = image[top : top + side, left : left + side]
            crop = crop[:, ::-1] if rng.random() < 0.5 else crop
            crop = tf.image.resize(crop, (size, size), antialias=True)
            result.append(np.rint(np.clip(crop, 0, 255)).astype(np.uint8))
    return np.stack(result)
