"""Operators of LiteRT by family, and the registry of them."""
