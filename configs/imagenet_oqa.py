r"""OQA (Once Quantized for All, https://arxiv.org/abs/2010.04354) on ImageNet. Not run.

Nobody has run this recipe with this code: no result is known. Space, bits, quantizers and bit
inheritance are the published ones ("OQA"). The training code was never published: what is not
marked is ours, after configs/imagenet_qfa.py.

    for PHASE in float w4 w3 w2; do
      python apps/train.py --config=configs/imagenet_oqa.py:$PHASE \
          --workdir=workdir/imagenet_oqa_$PHASE --strategy=multi_worker
    done
    python apps/search.py --workdir=workdir/imagenet_oqa_w4

Each phase starts from the workdir of the one before it; other places are given with
`--config.training.initial_checkpoint=DIR`. Top-1 that OQA reports for its subnets: 60.6 to 73.5 %
at 4 bits, 53.4 to 70.5 % at 3 bits, 42.4 to 64.1 % at 2 bits.

Data: `tfds:imagenet2012`, prepared by hand as its page tells, or image files as `folder:DIR`.
"""

from ml_collections import ConfigDict

from qfa_tf.space import SearchSpace

EPOCH = 620  # steps: 1,281,167 - 10,000 images by 2048, what is left over is not used
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

    # OQA: MobileNetV3 space of Once-for-All at width 1.0; stem, squeeze-excite and classifier in
    # float. The classifier has 8 bits here, as in QFA.
    space = SearchSpace.from_preset("mobilenet_v3_w1.0")
    config.supernet = ConfigDict()
    config.supernet.activation_quantizer = "lsq"  # OQA
    config.supernet.shared_step = True  # OQA
    config.supernet.signed_inputs = "offset"  # OQA: "clip", which loses negative inputs

    config.data = ConfigDict()
    config.data.name = "tfds:imagenet2012"
    config.data.search_validation = 10_000
    config.data.random_resized_crop = (0.08, 1.0)
    config.data.flip = True
    config.data.brightness = 32 / 255
    config.data.saturation = 0.5
    config.data.eval_crop = 0.875
    config.data.calibration_batches = 20  # OQA: 2000 images
    config.data.calibration_batch_size = 100  # OQA

    config.training = ConfigDict()
    config.training.method = "oqa"
    config.training.batch_size = 2048
    config.training.steps_per_epoch = EPOCH
    config.training.momentum = 0.9
    config.training.weight_decay = 3e-5
    config.training.clip_norm = 500.0
    config.training.label_smoothing = 0.1
    config.training.dropout = 0.1
    config.training.random_subnets = 2
    config.training.distillation = "in_place"
    config.training.checkpoint_minutes = 10.0
    config.training.seed = 0
    if PHASES[phase] is None:
        config.space = space
        config.training.stage_bits = ((32,), (32,))
        config.training.stage_subnets = ("largest", "all")
        config.training.stage_steps = (120 * EPOCH, 120 * EPOCH)
        config.training.learning_rate = (0.8, 0.4)
        config.training.warmup_steps = (5 * EPOCH, 5 * EPOCH)
        config.training.probe_epochs = 0  # nothing is quantized yet
    else:
        bits = int(phase.removeprefix("w"))
        config.space = space.replace(
            name=f"mobilenet_v3_w1.0_{phase}", weight_bits=(bits,), activation_bits=(bits,)
        )
        config.training.initial_checkpoint = f"workdir/imagenet_oqa_{PHASES[phase]}"
        config.training.inheritance = "double"  # OQA: step(K - 1) = 2 step(K)
        config.training.stage_bits = ((bits,),)
        config.training.stage_steps = (60 * EPOCH,)
        config.training.learning_rate = 0.08
        config.training.warmup_steps = 5 * EPOCH
        config.training.probe_epochs = 5

    config.search = ConfigDict()
    config.search.constraints = ("mflops_8bit<=20",)
    config.search.objective = "mflops_8bit"
    config.search.strategy = "predictor"
    config.search.evaluations = 8000
    config.search.predictor_population = 500
    config.search.predictor_generations = 1000
    config.search.population = 500  # used by other strategies only
    config.search.generations = 16
    config.search.max_bits = 4
    config.search.seed = 0

    return config
