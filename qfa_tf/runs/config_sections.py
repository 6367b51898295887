"""The sections of a config: every key with its type, default, bounds and meaning.

A key that configures a part of the library has the declaration of that part; the others are
declared here. Checks, defaults, `--help` and the tables of the documentation come from here.
"""

import dataclasses

from qfa_tf.supernet.options import SupernetOptions
from qfa_tf.training.options import InheritanceOptions, StageOptions, TrainingOptions
from quantize_configs.options import option, options_of, same_option

REQUIRED = dataclasses.MISSING
METHODS = ("qfa", "oqa")
STRATEGIES = ("nsga2", "predictor", "refine", "random", "predicted")
PREDICTORS = ("mlp", "gp")


def _same_options(owner: type, *left_out: str) -> list[tuple]:
    """Fields like those of a dataclass with options."""
    return [
        (field.name, field.type, same_option(owner, field.name))
        for field in dataclasses.fields(owner)
        if field.name in options_of(owner) and field.name not in left_out
    ]


SupernetSection = dataclasses.make_dataclass(
    "SupernetSection",
    _same_options(SupernetOptions, "dropout"),
    kw_only=True,
    namespace={"__doc__": "How the supernet quantizes, pads and starts: `QFASupernet`."},
)


@dataclasses.dataclass(kw_only=True)
class DataSection:
    """The images: `qfa_tf.data.load` and `qfa_tf.data.Augmentation`."""

    name: str = option(REQUIRED, "see `qfa_tf.data.load`")
    search_validation: int = option(
        0, "images held out for the search; 0 is the default of `load`", minimum=0
    )
    test: int = option(0, "test images; 0 is the default of `load`", minimum=0)
    calibration: int = option(0, "calibration images; 0 is the default of `load`", minimum=0)
    eval_crop: float = option(0.0, "see `qfa_tf.data.load`; 0 for none", minimum=0, maximum=1)
    memory_limit: int = option(
        0, "bytes of images in memory; 0 is the default of `load`", minimum=0
    )
    calibration_batches: int = option(
        REQUIRED, "batches that statistics of a subnet are measured on", minimum=1
    )
    calibration_batch_size: int = option(
        0,
        "images in each; 0 is `training.batch_size`. Ranges depend on it: take what one replica "
        "sees",
        minimum=0,
    )
    random_resized_crop: tuple[float, ...] = option(
        (),
        "`(0.08, 1.0)`: smallest and largest share of the area; `()` for whole images",
        minimum=0,
        maximum=1,
    )
    flip: bool = option(False, "mirror half of the images")
    max_shift: int = option(0, "pixels, in each direction", minimum=0)
    brightness: float = option(0.0, "factors from 1 - value to 1 + value", minimum=0, maximum=1)
    contrast: float = option(0.0, "the same", minimum=0, maximum=1)
    saturation: float = option(0.0, "the same", minimum=0, maximum=1)


@dataclasses.dataclass(kw_only=True)
class TrainingSection:
    """The training: `QFATraining` or `OQATraining`, its stages, optimizer and schedule."""

    batch_size: int = option(REQUIRED, "images per step, over all replicas", minimum=1)
    steps_per_epoch: int = option(
        REQUIRED, "an epoch ends with a row of the log and a checkpoint", minimum=1
    )
    stage_bits: tuple[tuple[int, ...], ...] = option(
        REQUIRED, "bits of each stage; 32 is float, `(32,)` a float warm-up"
    )
    stage_steps: tuple[int, ...] = option(REQUIRED, "steps of each stage", minimum=1)
    stage_subnets: tuple[str, ...] = same_option(
        StageOptions,
        "subnets",
        default=(),
        help='all `"all"`, or for each stage: `"largest"` trains '
        "the largest subnet alone, in a float stage",
    )
    architecture: str = option(
        "", "JSON of the one subnet to train alone; `--architecture=FILE` fills it"
    )
    method: str = option(
        "qfa", '`"oqa"`: one bit-width in all stages, see [oqa.md](oqa.md)', choices=METHODS
    )
    initial_checkpoint: str = option(
        "",
        "workdir to start from: same structure, any bits, resolutions and quantizers; or the Keras "
        "model file that the space was made from",
    )
    inheritance: str = same_option(InheritanceOptions, "inheritance", default="equal_bits")
    learning_rate: float | tuple[float, ...] = option(
        REQUIRED,
        "reached after the warm-up, then a cosine down to 0; one, or one per stage",
        above=0,
    )
    warmup_steps: int | tuple[int, ...] = option(
        REQUIRED, "linear; one, or one per stage", minimum=0
    )
    warmup_learning_rate: float = option(0.0, "where the warm-up starts", minimum=0)
    momentum: float = option(REQUIRED, "of Nesterov SGD", minimum=0, below=1)
    clip_norm: float = same_option(TrainingOptions, "clip_norm", default=REQUIRED)
    weight_decay: float = same_option(TrainingOptions, "weight_decay", default=REQUIRED)
    random_subnets: int = same_option(TrainingOptions, "random_subnets", default=REQUIRED)
    distillation: str = same_option(TrainingOptions, "distillation")
    distillation_weight: float = same_option(TrainingOptions, "distillation_weight")
    teacher: str = option("", 'with `"external"`: a workdir or a Keras model file')
    label_smoothing: float = same_option(TrainingOptions, "label_smoothing", default=REQUIRED)
    dropout: float = same_option(SupernetOptions, "dropout", below=1)
    compute_dtype: str = same_option(TrainingOptions, "compute_dtype")
    probe_epochs: int = option(5, "epochs between probes; 0 for none", minimum=0)
    checkpoint_minutes: float = option(
        10.0,
        "longest time between checkpoints within an epoch; 0 for one after every step",
        minimum=0,
    )
    seed: int = same_option(
        TrainingOptions, "seed", default=REQUIRED, help="of weights, images, subnets and dropout"
    )


@dataclasses.dataclass(kw_only=True)
class SearchSection:
    """The search, see docs/search.md."""

    constraints: tuple[str, ...] = option((), "budgets, such as `mflops_8bit<=20`")
    objective: str = option("mflops_8bit", "the cost that is traded against accuracy")
    population: int = option(40, "subnets per generation", minimum=2)
    generations: int = option(10, "of NSGA-II", minimum=1)
    max_bits: int = option(8, "most bits of any site")
    seed: int = option(0, "of the search")
    strategy: str = option("nsga2", "how subnets are found", choices=STRATEGIES)
    evaluations: int = option(0, "subnets to measure; 0 leaves it to the strategy", minimum=0)
    minimize: bool = option(False, "only the cheapest subnet that keeps the budgets is wanted")
    uniform_bits: bool = option(False, "one bit-width per subnet")
    latency_tables: tuple[str, ...] = option((), "files of measured operators")
    predictor: str = option("mlp", "what predicts accuracies", choices=PREDICTORS)
    predictor_population: int = option(500, "subnets per generation on predictions", minimum=2)
    predictor_generations: int = option(200, "generations on predictions", minimum=1)
    sample_share: float = option(0.5, "share of the evaluations for samples")
    sample_images: int = option(0, "images for samples; 0 for all", minimum=0)
    sensitivity: bool = option(True, "whether sensitivities of sites are measured first")


SECTIONS = {
    "supernet": SupernetSection,
    "data": DataSection,
    "training": TrainingSection,
    "search": SearchSection,
}
"""By name, in the order in which people read them."""
