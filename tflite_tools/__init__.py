"""Exact mixed-precision LiteRT export: integer graph, emitter, reference, verification."""
