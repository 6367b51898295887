"""Latency tables: what is measured of a space, and what is predicted from it."""

import lazy_loader

# The names, and where each lives, stand in __init__.pyi, which checkers and editors read too.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
