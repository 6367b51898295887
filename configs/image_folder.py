"""A supernet for images of your own, a folder with a folder for each class: 64 px, 2 to 8 bits.

    python apps/train.py --recipe=image_folder:photos --workdir=workdir/photos
    python apps/search.py --workdir=workdir/photos --constraint="tflite_bytes<=400000"
    python apps/export.py --workdir=workdir/photos

photos/CLASS/*.jpg or .png, or photos/train/CLASS/ and photos/test/CLASS/; see docs/data.md. The
classes are counted; the images have colours, or `--recipe.space.input_channels=1` must be given.
The space is that of the preset mobilenet_v3_mobile with a quarter of the channels and more
bit-widths. Small folders need `--recipe.training.batch_size=16`, and fewer steps
(`--recipe.training.stage_steps`). No training of it has been recorded: what it reaches, and in how
many steps, depends on the images.
"""

import json
import pathlib

from ml_collections import ConfigDict

from qfa_tf.space import SearchSpace


def get_config(folder="photos"):
    """Returns the config.

    Args:
      folder: Of the images.

    Raises:
      ValueError: It is missing, or has fewer than two folders in it.
    """
    classes = number_of_classes(folder)
    config = ConfigDict()

    space = SearchSpace.mobilenet_v3(
        0.25,
        name="image_folder",
        resolutions=(48, 56, 64),
        weight_bits=(2, 4, 8),
        activation_bits=(4, 8),
        stem_bits=(8, 8),
        activation="relu6",
        squeeze_excite=False,
        input_channels=3,
        num_classes=classes,
    )
    config.space = ConfigDict(json.loads(space.to_json()))

    config.data = ConfigDict()
    config.data.name = f"folder:{folder}"
    config.data.random_resized_crop = (0.5, 1.0)  # share of the area
    config.data.flip = True
    config.data.brightness = 0.2
    config.data.calibration_batches = 10

    config.training = ConfigDict()
    config.training.batch_size = 32
    config.training.steps_per_epoch = 50
    config.training.stage_bits = ((32,), (2, 4, 8, 32), (2, 4, 8))  # 32 is float
    config.training.stage_steps = (250, 250, 500)
    config.training.learning_rate = 0.05
    config.training.warmup_steps = 100  # then a cosine down to 0
    config.training.momentum = 0.9
    config.training.clip_norm = 100.0
    config.training.weight_decay = 3e-5
    config.training.random_subnets = 2  # per step, beside the smallest, the largest and the teacher
    config.training.distillation = "in_place"  # from the float largest subnet
    config.training.label_smoothing = 0.1
    config.training.probe_epochs = 5
    config.training.seed = 0

    config.search = ConfigDict()
    config.search.constraints = ("mflops_8bit<=2",)
    config.search.objective = "mflops_8bit"
    config.search.population = 24
    config.search.generations = 8
    config.search.seed = 0

    return config


def number_of_classes(folder):
    """Of the folders in `folder`, or in its folder `train`."""
    root = pathlib.Path(folder).expanduser()
    root = root / "train" if (root / "train").is_dir() else root
    found = list(root.iterdir()) if root.is_dir() else []
    classes = sum(path.is_dir() and path.name[0] not in "._" for path in found)
    if classes < 2:
        raise ValueError(
            f"{root} needs a folder for each of two classes or more, and has {classes}. Name the "
            "folder of your images, as in --recipe=image_folder:photos."
        )
    return classes
