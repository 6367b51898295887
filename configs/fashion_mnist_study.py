r"""The runs of docs/study.md: QFA and OQA at equal data, steps and seeds on a small space.

Data: the 70,000 images of Debian's package `dataset-fashion-mnist` (apt-get install), 28 px, seen
at 16 and 20 px.

    python benchmarks/study.py

trains and evaluates all of them, a few minutes each. A single one, such as run `lsq` with seed 1
(after run `float` with seed 1, from whose weights it starts):

    python apps/train.py --config=configs/fashion_mnist_study.py:lsq-1 --workdir=workdir/study/lsq-1

The space is the preset `fashion_mnist` at two low resolutions. What the runs ended with stands in
benchmarks/results/study.
"""

from ml_collections import ConfigDict

from qfa_tf.space import SearchSpace

FLOAT_STEPS, STEPS = 300, 600
"""Of the float supernet, and of everything that starts from it."""
PHASE_STEPS = STEPS // 3
"""Of one phase of OQA: 4, 3 and 2 bits together take as many steps as the mixed supernet."""
MIXED = (2, 3, 4)

RUNS = {
    "float": {"bits": (32,), "steps": FLOAT_STEPS},
    "qfa": {"parent": "float"},
    "lsq": {"parent": "float", "supernet": {"activation_quantizer": "lsq"}},
    "lsq_plus": {"parent": "float", "supernet": {"activation_quantizer": "lsq_plus"}},
    "pact": {"parent": "float", "supernet": {"activation_quantizer": "pact"}},
    "fractional": {"parent": "float", "supernet": {"zero_point": "fractional"}},
    "min_max": {"parent": "float", "supernet": {"estimator": "min_max"}},
    "sample_mean": {"parent": "float", "supernet": {"estimator": "sample_mean"}},
    "oqa_w4": {"parent": "float", "oqa_bits": 4},
    "oqa_w3": {"parent": "oqa_w4", "oqa_bits": 3},
    "oqa_w2": {"parent": "oqa_w3", "oqa_bits": 2},
    "direct_w3": {"parent": "float", "oqa_bits": 3},
    "direct_w2": {"parent": "float", "oqa_bits": 2},
    "long_w3": {"parent": "float", "oqa_bits": 3, "steps": 2 * PHASE_STEPS},
    "long_w2": {"parent": "float", "oqa_bits": 2, "steps": STEPS},
    "alone": {"stages": ((32,), MIXED), "stage_steps": (FLOAT_STEPS, STEPS)},
}
"""What distinguishes each run: where it starts, and what it changes. `alone` trains one subnet,
from scratch: it needs --architecture."""


def get_config(run="qfa-0"):
    """Returns the config.

    Args:
      run: Name of a run, a hyphen, and its seed.
    """
    name, _, seed = run.rpartition("-")
    if name not in RUNS or not seed.isdigit():
        raise ValueError(f"A run is one of {sorted(RUNS)} with a seed: 'qfa-0'. Received: {run!r}.")
    changes = RUNS[name]
    oqa_bits = changes.get("oqa_bits")
    config = ConfigDict()
    config.space = study_space(oqa_bits)
    config.supernet = ConfigDict(changes.get("supernet", {}))

    config.data = ConfigDict()
    config.data.name = "idx:/usr/share/datasets/fashion-mnist"
    config.data.search_validation = 2000
    config.data.max_shift = 1  # pixels, in each direction
    config.data.flip = True
    config.data.calibration_batches = 20

    config.training = ConfigDict()
    config.training.batch_size = 32
    config.training.steps_per_epoch = 100
    config.training.stage_bits = changes.get("stages", (changes.get("bits", MIXED),))
    config.training.stage_steps = changes.get("stage_steps", (changes.get("steps", STEPS),))
    config.training.learning_rate = 0.05
    config.training.warmup_steps = 30  # then a cosine down to 0
    config.training.momentum = 0.9
    config.training.clip_norm = 10.0
    config.training.weight_decay = 3e-5
    config.training.random_subnets = 1  # per step, beside the smallest, the largest and the teacher
    config.training.distillation = "in_place"
    config.training.label_smoothing = 0.1
    config.training.probe_epochs = 0
    config.training.seed = int(seed)
    if "parent" in changes:
        config.training.initial_checkpoint = f"workdir/study/{changes['parent']}-{seed}"
    if oqa_bits is not None:
        config.supernet.activation_quantizer = "lsq"
        config.supernet.shared_step = True
        config.training.method = "oqa"
        config.training.inheritance = "double"  # step(K - 1) = 2 step(K)
        config.training.stage_bits = ((oqa_bits,),)
        config.training.stage_steps = (changes.get("steps", PHASE_STEPS),)

    config.search = ConfigDict()
    config.search.constraints = ()
    config.search.objective = "mflops_8bit"
    config.search.population = 20
    config.search.generations = 5
    config.search.max_bits = 4
    config.search.seed = int(seed)

    return config


def study_space(bits=None):
    """The space of the study; `bits` makes it one of a single bit-width, for a phase of OQA."""
    space = SearchSpace.from_preset("fashion_mnist").replace(
        name="fashion_mnist_study", resolutions=(16, 20)
    )
    if bits is None:
        return space
    return space.replace(name=f"{space.name}_w{bits}", weight_bits=(bits,), activation_bits=(bits,))
