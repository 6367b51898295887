"""Runs: a folder per experiment, and the functions behind the programs in `apps/`.

Importing this package imports no TensorFlow; what needs it imports it when it is called.
"""

import lazy_loader

# The names, and where each lives, stand in __init__.pyi, which checkers and editors read too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
