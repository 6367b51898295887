"""Quantized supernets: train once, search under a budget, deploy without retraining."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cost": ["CostModel"],
        "space": ["Architecture", "SearchSpace"],
        "supernet": ["Calibration", "QFASupernet"],
        "training": ["OQATraining", "QFATraining", "TrainingStage"],
        "version": ["__version__"],
    },
)
