"""Image data sets in four splits, and reproducible input pipelines.

Names are loaded lazily, so that options and the division into splits need no TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
