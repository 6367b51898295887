r"""OQA (Once Quantized for All) on Fashion-MNIST: one supernet per uniform bit-width.

Data: the 70,000 images of Debian's package `dataset-fashion-mnist` (apt-get install), 28 px.

    python apps/train.py --config=configs/fashion_mnist_oqa.py:float \
        --workdir=workdir/fashion_mnist_oqa_float
    python apps/train.py --config=configs/fashion_mnist_oqa.py:w4 \
        --workdir=workdir/fashion_mnist_oqa_w4
    python apps/train.py --config=configs/fashion_mnist_oqa.py:w3 \
        --workdir=workdir/fashion_mnist_oqa_w3
    python apps/train.py --config=configs/fashion_mnist_oqa.py:w2 \
        --workdir=workdir/fashion_mnist_oqa_w2
    python apps/search.py --workdir=workdir/fashion_mnist_oqa_w4

Each phase starts from the workdir of the one before it; other places are given with
`--config.training.initial_checkpoint=DIR`. Space, images and the subnets of a step are those of
configs/fashion_mnist.py. No phase has been run to its end: no result is known.
"""

from ml_collections import ConfigDict

from qfa_tf.space import SearchSpace

PHASES = {"float": None, "w4": "float", "w3": "w4", "w2": "w3"}
"""The phases, each with the one it starts from."""


def get_config(phase="float"):
    """Returns the config.

    Args:
      phase: "float", "w4", "w3" or "w2".
    """
    if phase not in PHASES:
        raise ValueError(f"The phases are {sorted(PHASES)}. Received: {phase!r}.")
    config = ConfigDict()
    space = SearchSpace.from_preset("fashion_mnist")
    config.supernet = ConfigDict()
    config.supernet.activation_quantizer = "lsq"
    config.supernet.shared_step = True

    config.data = ConfigDict()
    config.data.name = "idx:/usr/share/datasets/fashion-mnist"
    config.data.max_shift = 1  # pixels, in each direction
    config.data.flip = True
    config.data.calibration_batches = 20

    config.training = ConfigDict()
    config.training.method = "oqa"
    config.training.batch_size = 64
    config.training.steps_per_epoch = 100
    config.training.momentum = 0.9
    config.training.clip_norm = 10.0
    config.training.weight_decay = 3e-5
    config.training.random_subnets = 2  # per step, beside the smallest, the largest and the teacher
    config.training.distillation = "in_place"  # from the largest subnet at the bits of the phase
    config.training.label_smoothing = 0.1
    config.training.seed = 0
    if PHASES[phase] is None:
        config.space = space
        config.training.stage_bits = ((32,),)
        config.training.stage_steps = (800,)
        config.training.learning_rate = 0.08
        config.training.warmup_steps = 100  # then a cosine down to 0
        config.training.probe_epochs = 0  # nothing is quantized yet
    else:
        bits = int(phase.removeprefix("w"))
        config.space = space.replace(
            name=f"fashion_mnist_{phase}", weight_bits=(bits,), activation_bits=(bits,)
        )
        config.training.initial_checkpoint = f"workdir/fashion_mnist_oqa_{PHASES[phase]}"
        config.training.inheritance = "double"  # step(K - 1) = 2 step(K)
        config.training.stage_bits = ((bits,),)
        config.training.stage_steps = (500,)
        config.training.learning_rate = 0.04
        config.training.warmup_steps = 50
        config.training.probe_epochs = 5

    config.search = ConfigDict()
    config.search.constraints = ("mflops_8bit<=0.15",)
    config.search.objective = "mflops_8bit"
    config.search.population = 40
    config.search.generations = 10
    config.search.max_bits = 4
    config.search.seed = 0

    return config
