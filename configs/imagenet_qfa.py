r"""The recipe of the QFA paper (BatchQuant, NeurIPS 2021) on ImageNet. Not run.

Nobody has run this recipe with this code: no result is known. It repeats the published settings of
the official release (ml-batchquant) as data; where we had to choose, the comment
says "ours".

    python apps/train.py --config=configs/imagenet_qfa.py:float --workdir=workdir/imagenet_float \
        --strategy=multi_worker
    python apps/train.py --config=configs/imagenet_qfa.py --workdir=workdir/imagenet_qfa \
        --strategy=multi_worker
    python apps/search.py --workdir=workdir/imagenet_qfa

The first command trains the float supernet that the release downloads (Once-for-All, width 1.2);
the second one, 190 epochs, is the paper's. It starts from the weights of the first and takes its
largest subnet as the teacher. To distil from a Keras model of your own instead:
`--config.training.teacher=model.keras`.

Data: `tfds:imagenet2012`, prepared by hand as its page tells, or image files as `folder:DIR`.

Cost: the release used 32 GPUs, 2048 images per step, 118,000 steps of six subnets each.
"""

from ml_collections import ConfigDict

EPOCH = 620  # steps: 1,281,167 - 10,000 images by 2048, what is left over is not used


def get_config(variant="qfa"):
    """Returns the config.

    Args:
      variant: "qfa", or "float" for the supernet it starts from.
    """
    if variant not in ("qfa", "float"):
        raise ValueError(f"The variants are 'qfa' and 'float'. Received: {variant!r}.")
    config = ConfigDict()

    # Release: MobileNetV3 space of Once-for-All at width 1.2, stem in float, classifier W8 A8.
    config.space = "mobilenet_v3_w1.2"

    config.supernet = ConfigDict()
    # Ours: integer zero points, which can be deployed. The release's are "fractional".
    config.supernet.zero_point = "integer"

    config.data = ConfigDict()
    config.data.name = "tfds:imagenet2012"
    config.data.search_validation = 10_000  # release: held out of the training images
    config.data.random_resized_crop = (0.08, 1.0)  # release
    config.data.flip = True  # release
    config.data.brightness = 32 / 255  # release
    config.data.saturation = 0.5  # release
    config.data.eval_crop = 0.875  # release: resize to ceil(r / 0.875), middle r
    config.data.calibration_batches = 30  # release
    config.data.calibration_batch_size = 64  # release: images per GPU, as in training

    config.training = ConfigDict()
    config.training.batch_size = 2048  # release: 64 on each of 32 GPUs
    config.training.steps_per_epoch = EPOCH
    config.training.momentum = 0.9  # release: Nesterov
    config.training.weight_decay = 3e-5  # release: none on normalization, biases and quantizers
    config.training.clip_norm = 500.0  # release; there before the reduction, here after it
    config.training.label_smoothing = 0.1  # release
    config.training.dropout = 0.1  # release, before the classifier
    config.training.random_subnets = 4  # release: beside the smallest and the largest
    config.training.compute_dtype = "float32"  # release
    config.training.probe_epochs = 5  # ours
    config.training.checkpoint_minutes = 10.0  # ours
    config.training.seed = 0  # ours
    if variant == "qfa":
        config.training.initial_checkpoint = "workdir/imagenet_float"
        config.training.stage_bits = ((2, 3, 4, 32), (2, 3, 4))  # release; 32 is float
        config.training.stage_steps = (65 * EPOCH, 125 * EPOCH)  # release: 5 + 60, 5 + 120 epochs
        config.training.learning_rate = (0.08, 0.08)  # release: 2.5e-3 on each of 32 GPUs
        config.training.warmup_steps = (5 * EPOCH, 5 * EPOCH)  # release, then a cosine down to 0
        config.training.warmup_learning_rate = 2.5e-3  # release
        config.training.distillation = "external"  # release: the largest float subnet
        config.training.distillation_weight = 1.0  # release, temperature 1
        config.training.teacher = "workdir/imagenet_float"
    else:  # all ours, in place of the four trainings of Once-for-All
        config.training.stage_bits = ((32,), (32,))
        config.training.stage_subnets = ("largest", "all")
        config.training.stage_steps = (120 * EPOCH, 120 * EPOCH)
        config.training.learning_rate = (0.8, 0.4)
        config.training.warmup_steps = (5 * EPOCH, 5 * EPOCH)
        config.training.distillation = "in_place"

    config.search = ConfigDict()
    config.search.constraints = ("mflops_8bit<=20",)  # the regime of the paper's headline
    config.search.objective = "mflops_8bit"
    config.search.strategy = "predictor"  # release
    config.search.evaluations = 8000  # release: about 8000 measured subnets
    config.search.predictor_population = 500  # release
    config.search.predictor_generations = 1000  # release
    config.search.population = 500  # used by other strategies only
    config.search.generations = 16
    config.search.max_bits = 4
    config.search.seed = 0

    return config
