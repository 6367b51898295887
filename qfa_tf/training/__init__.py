"""How supernets are trained. TensorFlow is imported with the first name."""

import lazy_loader

# The names, and where each lives, stand in __init__.pyi, which checkers and editors read too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
