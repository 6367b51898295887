"""Keras layers by family: what each does to grids, how it is rewritten, where it may stand."""
