r"""The digits recipe: a supernet of 7e22 subnets with 2- to 8-bit weights and activations.

Data: the 1797 handwritten digits of scikit-learn (no download), enlarged to 32 px.

    python apps/train.py --config=configs/digits.py --workdir=workdir/digits
    python apps/search.py --workdir=workdir/digits
    python apps/export.py --workdir=workdir/digits
    python apps/benchmark.py --workdir=workdir/digits

or all of it: scripts/quickstart.sh.

Cost: 475 steps, about 3 minutes of training on two cores, 5 for everything. Expected result: 99 %
of the search-validation images with the largest subnet, at 2 bits as at 4; what the whole path ends
with stands in docs/results/quickstart.json.

Any value can be changed on the command line, such as
`--config.training.learning_rate=0.1 --config.training.stage_steps=100,200,300`.
"""

from ml_collections import ConfigDict


def get_config():
    """Returns the config."""
    config = ConfigDict()

    config.space = "digits_tiny"

    config.data = ConfigDict()
    config.data.name = "digits"
    config.data.max_shift = 2  # pixels, in each direction
    config.data.calibration_batches = 8

    config.training = ConfigDict()
    config.training.batch_size = 64
    config.training.steps_per_epoch = 25  # an epoch ends with a log row and a checkpoint
    config.training.stage_bits = ((32,), (2, 3, 4, 8, 32), (2, 3, 4, 8))  # 32 is float
    config.training.stage_steps = (75, 150, 250)
    config.training.learning_rate = 0.05
    config.training.warmup_steps = 50  # then a cosine down to 0
    config.training.momentum = 0.9
    config.training.clip_norm = 5.0
    config.training.weight_decay = 3e-5
    config.training.random_subnets = 2  # per step, beside the smallest, the largest and the teacher
    config.training.distillation = "in_place"  # from the float largest subnet
    config.training.distillation_weight = 1.0
    config.training.label_smoothing = 0.1
    config.training.seed = 0

    config.search = ConfigDict()
    config.search.constraints = ("mflops_8bit<=0.06",)
    config.search.objective = "mflops_8bit"
    config.search.population = 20
    config.search.generations = 6
    config.search.max_bits = 4
    config.search.seed = 0

    return config
