from .calibration import Calibration
from .inheritance import INHERITANCES, inherit
from .options import SupernetOptions
from .supernet import QFASupernet

__all__ = ["INHERITANCES", "Calibration", "QFASupernet", "SupernetOptions", "inherit"]
