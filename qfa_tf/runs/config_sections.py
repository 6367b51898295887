"""The sections of a config: every key with its type, default, bounds and meaning.

A key that configures a part of the library has the declaration of that part; the others are
declared here. Checks, defaults, `--help` and the tables of the documentation come from here.
"""

import dataclasses
import typing

from qfa_tf.data.augmentation import Augmentation
from qfa_tf.data.options import LoadOptions
from qfa_tf.runs.searching.settings import SearchSettings
from qfa_tf.supernet.options import SupernetOptions
from qfa_tf.training.options import InheritanceOptions, StageOptions, TrainingOptions
from quantize_configs.options import option, options_of, same_option

REQUIRED = dataclasses.MISSING
METHODS = ("qfa", "oqa")


def _same_options(owner: type, *left_out: str) -> list[tuple]:
    """Fields like those of a dataclass with options, in which an empty value stands for None."""
    fields = []
    for field in dataclasses.fields(owner):
        if field.name not in options_of(owner) or field.name in left_out:
            continue
        kind, changes = field.type, {}
        if field.default is None:
            kind = next(one for one in typing.get_args(kind) if one is not type(None))
            empty = () if typing.get_origin(kind) is tuple else kind(0)
            declared = options_of(owner)[field.name]
            changes = {"default": empty, "help": f"{declared.help}; {empty} stands for None"}
        fields.append((field.name, kind, same_option(owner, field.name, **changes)))
    return fields


SupernetSection = dataclasses.make_dataclass(
    "SupernetSection",
    _same_options(SupernetOptions, "dropout"),
    kw_only=True,
    namespace={"__doc__": "How the supernet quantizes, pads and starts: `QFASupernet`."},
)


DataSection = dataclasses.make_dataclass(
    "DataSection",
    [
        ("name", str, option(REQUIRED, "see `qfa_tf.data.load`")),
        *_same_options(LoadOptions),
        (
            "calibration_batches",
            int,
            option(REQUIRED, "batches that statistics of a subnet are measured on", minimum=1),
        ),
        (
            "calibration_batch_size",
            int,
            option(
                0,
                "images in each; 0 is `training.batch_size`. Ranges depend on it: take what one "
                "replica sees",
                minimum=0,
            ),
        ),
        *_same_options(Augmentation),
    ],
    kw_only=True,
    namespace={"__doc__": "The images: `qfa_tf.data.load` and `qfa_tf.data.Augmentation`."},
)


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


SECTIONS = {
    "supernet": SupernetSection,
    "data": DataSection,
    "training": TrainingSection,
    "search": SearchSettings,
}
"""By name, in the order in which people read them."""
