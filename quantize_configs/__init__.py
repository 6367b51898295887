"""Quantizers and TFMOT quantize configurations for any Keras model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "activations": ["HardSigmoid", "HardSwish"],
        "batch_quantizer": ["BatchQuantizer"],
        "bit_policy": ["BitPolicy"],
        "calibration": ["calibrate"],
        "deployment": ["prepare_for_deployment"],
        "layer_configs": ["LayerQuantizeConfig"],
        "layer_roles": ["UnsupportedLayerError"],
        "lsq_activation_quantizer": ["LSQActivationQuantizer"],
        "lsq_quantizer": ["LSQQuantizer"],
        "model_quantization": ["quantize"],
        "saving": ["load_model", "save_model"],
        "sensitivity": ["Sensitivity", "sensitivity"],
        "scheme": ["BitWidthScheme", "quantize_scope"],
        "wrappers": ["UncalibratedError"],
    },
)
