"""The options of every quantizer class, without TensorFlow."""

import dataclasses
from collections.abc import Iterable, Mapping

from quantize_configs.options import option

ZERO_POINTS = ("integer", "fractional")
BATCH_ESTIMATORS = ("channel_mean", "sample_mean", "min_max")
"""Of any number of bit-widths; BatchQuant's own is the first."""
ESTIMATORS = (*BATCH_ESTIMATORS, "least_error")
STARTS = ("lsq", "largest", "least_error")
FACTOR_STARTS = ("range", "least_error")
GRIDS = ("unsigned", "signed", "offset")
RULES = ("lsq", "pact")


@dataclasses.dataclass
class BatchOptions:
    """Options of `BatchQuantizer`."""

    num_bits: int | Iterable[int] = 4
    zero_point: str = option(
        "integer",
        "integer zero points, which integer runtimes compute, or the fractional ones of the paper",
        choices=ZERO_POINTS,
    )
    estimator: str = option(
        "channel_mean", "how the range of a batch is estimated", choices=ESTIMATORS
    )
    signed: bool = option(False, "whether codes are signed; values are the same")
    learned: bool = option(True, "whether a factor and an offset of the grid are learned")
    factor_start: str = option(
        "range",
        "first grids: over the range, or of least squared error for normal values of that range",
        choices=FACTOR_STARTS,
    )
    banks: int = option(1, "number of independent sets of learned parameters", minimum=1)


@dataclasses.dataclass
class LSQActivationOptions:
    """Options of `LSQActivationQuantizer`."""

    num_bits: int | Iterable[int] = 4
    grid: str = option(
        "unsigned", "codes without sign, with sign, or with a learned lower end", choices=GRIDS
    )
    rule: str = option("lsq", "how the step learns", choices=RULES)
    banks: int = option(1, "number of independent sets of learned parameters", minimum=1)


@dataclasses.dataclass
class LSQOptions:
    """Options of `LSQQuantizer`."""

    num_bits: int | Iterable[int] = 4
    signed: bool = option(True, "whether codes are signed")
    narrow_bits: tuple[int, ...] = option(
        (8,), "weight bits that leave out their most negative code"
    )
    banks: int = option(1, "number of independent sets of steps", minimum=1)
    channel_axes: tuple[int, ...] = option(
        (), "axes of the weight along which steps differ; one step per tensor without any"
    )
    start_rule: str = option(
        "lsq",
        "first steps: of LSQ's formula, to the largest weight, or of least squared error",
        choices=STARTS,
    )


@dataclasses.dataclass(frozen=True)
class ActivationKind:
    """A way to quantize activations by name.

    Attributes:
      class_name: Of the quantizer.
      fixed: Options of it that the name decides.
      help: What it is, one phrase.
    """

    class_name: str
    fixed: Mapping[str, object]
    help: str


_LEARNED = "LSQActivationQuantizer"

ACTIVATION_KINDS = {
    "batch": ActivationKind("BatchQuantizer", {}, "BatchQuant: ranges of the batch"),
    "lsq": ActivationKind(_LEARNED, {"rule": "lsq"}, "LSQ: the step is learned"),
    "lsq_plus": ActivationKind(
        _LEARNED, {"rule": "lsq", "grid": "offset"}, "LSQ+: step and lower end are learned"
    ),
    "pact": ActivationKind(_LEARNED, {"rule": "pact"}, "PACT: the largest value is learned"),
}
"""By the name that stands in options and recipes."""
