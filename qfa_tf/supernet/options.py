"""The options of a supernet, declared once, without TensorFlow.

`QFASupernet` checks them and writes its configuration from here; a recipe has them as
`config.supernet.*` with these defaults and choices.
"""

import dataclasses
from typing import Any

from quantize_configs.errors import InvalidInputError
from quantize_configs.options import check_options, option, same_option
from quantize_configs.quantizer_options import (
    ACTIVATION_KINDS,
    BATCH_ESTIMATORS,
    BatchOptions,
    LSQOptions,
)

PADDINGS = ("same", "symmetric")
SIGNED_INPUTS = ("offset", "signed", "clip")
EXECUTIONS = ("sliced", "masked")
CONSTANT_CHANNELS = ("stopped", "passed")
KERNEL_STARTS = ("fan_out", "own_channel", "uniform")

RELEASE_OPTIONS: dict[str, Any] = {
    "norm_epsilon": 1e-5,
    "constant_channels": "passed",
    "factor_start": "range",
    "residual_gain": 1.0,
    "weight_start": "lsq",
}
"""What the official releases have, and every supernet had before these were options."""


@dataclasses.dataclass(frozen=True)
class SupernetOptions:
    """How a supernet quantizes, normalizes and pads.

    Raises:
      InvalidInputError: A value is not allowed, or two do not fit together.
    """

    zero_point: str = same_option(BatchOptions, "zero_point")
    estimator: str = same_option(BatchOptions, "estimator", choices=BATCH_ESTIMATORS)
    factor_start: str = same_option(BatchOptions, "factor_start", default="least_error")
    padding: str = option(
        "same", "SAME, or k // 2 zeros on all sides as in the official releases", choices=PADDINGS
    )
    narrow_bits: tuple[int, ...] = same_option(LSQOptions, "narrow_bits")
    weight_start: str = same_option(LSQOptions, "start_rule", default="least_error")
    activation_quantizer: str = option(
        "batch",
        "; ".join(f'"{name}": {kind.help}' for name, kind in ACTIVATION_KINDS.items()),
        choices=tuple(ACTIVATION_KINDS),
    )
    shared_step: bool = option(
        False, "whether all kernel sizes of a site share their learned quantizer values"
    )
    signed_inputs: str = option(
        "offset", "learned grids of inputs that can be negative", choices=SIGNED_INPUTS
    )
    norm_epsilon: float = option(
        1e-2,
        "added to the variance by normalization; 1e-5 in the official releases and in workdirs of "
        "earlier versions",
        above=0,
    )
    constant_channels: str = option(
        "stopped",
        "whether normalization passes the gradient of channels that few bits rounded to one code; "
        '"passed" in the official releases and in workdirs of earlier versions',
        choices=CONSTANT_CHANNELS,
    )
    classifier_start: str = option(
        "uniform",
        "first values of the classifier's kernel: in +-1 / sqrt(inputs), or normal with variance "
        "2 / outputs",
        choices=KERNEL_STARTS,
    )
    depthwise_start: str = option(
        "fan_out",
        "first values of depthwise kernels: all channels count as outputs, or each is its own",
        choices=KERNEL_STARTS,
    )
    residual_gain: float = option(
        0.05,
        "first gain of the normalization at the end of residual branches; 1 in the official "
        "releases and in workdirs of earlier versions",
        above=0,
    )
    execution: str = option(
        "sliced",
        "tensors of the sizes of each subnet, or all of the largest sizes with zeros for what a "
        "subnet has not: static shapes, for XLA and accelerators",
        choices=EXECUTIONS,
    )
    dropout: float = option(0.0, "share of the classifier's inputs that training drops", minimum=0)

    def __post_init__(self):
        """Checks the options."""
        check_options(self)
        if self.activation_quantizer != "batch" and self.zero_point != "integer":
            raise InvalidInputError(
                f"activation_quantizer={self.activation_quantizer!r} has integer zero points; "
                f"fractional ones belong to 'batch'. Received: zero_point={self.zero_point!r}."
            )
        if self.execution == "masked" and self.zero_point == "fractional":
            raise InvalidInputError(
                "execution='masked' needs zero_point='integer': fractional zero points repeat the "
                "official release's order of additions, which masked channels would change."
            )
