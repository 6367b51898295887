"""Whether a flatbuffer computes what was promised."""
