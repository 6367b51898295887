r"""The Fashion-MNIST recipe: a supernet with squeeze-excite, hard-swish and 2- to 4-bit layers.

Data: the 70,000 images of Debian's package `dataset-fashion-mnist` (apt-get install), 28 px.

    python apps/train.py --config=configs/fashion_mnist.py --workdir=workdir/fashion_mnist
    python apps/search.py --workdir=workdir/fashion_mnist
    python apps/export.py --workdir=workdir/fashion_mnist
    python apps/benchmark.py --workdir=workdir/fashion_mnist

Three stages as in QFA: the whole supernet in float, so that no pretrained network is needed; then
2, 3, 4 bits and float mixed; then 2, 3 and 4 bits. 2,200 steps of five subnets each.

Cost: 42 minutes on two cores that had other work to do as well. Expected result without
retraining, on the test images (measured 2026-11-21 by benchmarks/supernet_accuracy.py into
benchmarks/results/supernet_accuracy.csv):

    bits       2        3        4        float
    smallest   81.84 %  84.84 %  85.44 %  84.62 %
    largest    85.48 %  87.91 %  88.30 %  88.56 %
"""

from ml_collections import ConfigDict


def get_config():
    """Returns the config."""
    config = ConfigDict()

    config.space = "fashion_mnist"

    config.data = ConfigDict()
    config.data.name = "idx:/usr/share/datasets/fashion-mnist"
    config.data.max_shift = 1  # pixels, in each direction
    config.data.flip = True
    config.data.calibration_batches = 20

    config.training = ConfigDict()
    config.training.batch_size = 64
    config.training.steps_per_epoch = 100
    config.training.stage_bits = ((32,), (2, 3, 4, 32), (2, 3, 4))  # 32 is float
    config.training.stage_steps = (300, 500, 1400)
    config.training.learning_rate = 0.08
    config.training.warmup_steps = 100  # then a cosine down to 0
    config.training.momentum = 0.9
    config.training.clip_norm = 10.0
    config.training.weight_decay = 3e-5
    config.training.random_subnets = 2  # per step, beside the smallest, the largest and the teacher
    config.training.distillation = "in_place"  # from the float largest subnet
    config.training.label_smoothing = 0.1
    config.training.probe_epochs = 11
    config.training.seed = 0

    config.search = ConfigDict()
    config.search.constraints = ("mflops_8bit<=0.15",)
    config.search.objective = "mflops_8bit"
    config.search.population = 40
    config.search.generations = 10
    config.search.max_bits = 4
    config.search.seed = 0

    return config
