"""A small image folder."""

import pytest
from image_files import smooth_images, write_images


@pytest.fixture(scope="session")
def colour_folder(tmp_path_factory):
    """Two classes of 16 RGB images of 20 x 28 pixels to train with, 4 to test with."""
    root = tmp_path_factory.mktemp("colour")
    for label, name in enumerate(("apple", "pear")):
        images = smooth_images(20, 20, 28, 3, seed=label)
        write_images(root / "train" / name, images[:16])
        write_images(root / "test" / name, images[16:])
    return root
