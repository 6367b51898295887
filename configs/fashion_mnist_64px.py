r"""A phone-sized supernet at 64 pixels on Fashion-MNIST: 20 blocks, 2 to 8 bits.

Data: the 70,000 images of Debian's package `dataset-fashion-mnist` (apt-get install), 28 px,
enlarged.

    python apps/train.py --config=configs/fashion_mnist_64px.py --workdir=workdir/fashion_mnist_64px
    python apps/search.py --workdir=workdir/fashion_mnist_64px
    python apps/export.py --workdir=workdir/fashion_mnist_64px

The space of the papers with a quarter of their channels. Three stages as in QFA: the whole supernet
in float; then 2, 3, 4, 8 bits and float mixed; then 2 to 8 bits. Five subnets per step, an hour and
a quarter on one core. docs/study.md says what a quarter of the steps gives:
--config.training.stage_steps="(300,500,1200)".
"""

from ml_collections import ConfigDict

from qfa_tf import SearchSpace


def get_config():
    """Returns the config."""
    config = ConfigDict()

    config.space = SearchSpace.mobilenet_v3(
        0.25,
        name="fashion_mnist_64px",
        resolutions=(48, 56, 64),
        weight_bits=(2, 3, 4, 8),
        activation_bits=(2, 3, 4, 8),
        input_channels=1,
        num_classes=10,
    )

    config.data = ConfigDict()
    config.data.name = "idx:/usr/share/datasets/fashion-mnist"
    config.data.max_shift = 2  # pixels, in each direction
    config.data.flip = True
    config.data.calibration_batches = 20

    config.training = ConfigDict()
    config.training.batch_size = 64
    config.training.steps_per_epoch = 100
    config.training.stage_bits = ((32,), (2, 3, 4, 8, 32), (2, 3, 4, 8))  # 32 is float
    config.training.stage_steps = (1200, 2000, 4800)
    config.training.learning_rate = 0.08
    config.training.warmup_steps = 100  # then a cosine down to 0
    config.training.momentum = 0.9
    config.training.clip_norm = 100.0
    config.training.weight_decay = 3e-5
    config.training.random_subnets = 2  # per step, beside the smallest, the largest and the teacher
    config.training.distillation = "in_place"  # from the float largest subnet
    config.training.label_smoothing = 0.1
    config.training.probe_epochs = 10
    config.training.seed = 0

    config.search = ConfigDict()
    config.search.constraints = ("mflops_8bit<=2",)
    config.search.objective = "mflops_8bit"
    config.search.population = 40
    config.search.generations = 10
    config.search.seed = 0

    return config
