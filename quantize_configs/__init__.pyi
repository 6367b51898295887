from .activations import HardSigmoid, HardSwish
from .batch_quantizer import BatchQuantizer
from .bit_policy import BitPolicy
from .calibration import calibrate
from .collapsed_ranges import CollapsedRangeWarning
from .deployment import prepare_for_deployment
from .distillation import distill
from .errors import (
    DamagedFileError,
    ExistingFileError,
    InvalidInputError,
    InvalidTypeError,
    MissingExtraError,
    MissingFileError,
    QFAError,
    StateError,
    UnavailableError,
    UnsupportedError,
)
from .float_counterpart import float_counterpart
from .keras3_bridge import as_tf_keras, to_keras3
from .layer_configs import LayerQuantizeConfig
from .layer_roles import UnsupportedLayerError
from .lsq_activation_quantizer import LSQActivationQuantizer
from .lsq_quantizer import LSQQuantizer
from .model_quantization import quantize
from .native.building import NativeBuildError
from .native.operators import use_native_kernels
from .normalization_statistics import recalibrate_normalization
from .saving import load_model, save_model
from .scheme import BitWidthScheme, quantize_scope
from .sensitivity import Sensitivity, sensitivity
from .support_check import SupportReport, check_support
from .wrappers import UncalibratedError

__all__ = [
    "BatchQuantizer",
    "BitPolicy",
    "BitWidthScheme",
    "CollapsedRangeWarning",
    "DamagedFileError",
    "ExistingFileError",
    "HardSigmoid",
    "HardSwish",
    "InvalidInputError",
    "InvalidTypeError",
    "LSQActivationQuantizer",
    "LSQQuantizer",
    "LayerQuantizeConfig",
    "MissingExtraError",
    "MissingFileError",
    "NativeBuildError",
    "QFAError",
    "Sensitivity",
    "StateError",
    "SupportReport",
    "UnavailableError",
    "UncalibratedError",
    "UnsupportedError",
    "UnsupportedLayerError",
    "as_tf_keras",
    "calibrate",
    "check_support",
    "distill",
    "float_counterpart",
    "load_model",
    "prepare_for_deployment",
    "quantize",
    "quantize_scope",
    "recalibrate_normalization",
    "save_model",
    "sensitivity",
    "to_keras3",
    "use_native_kernels",
]
