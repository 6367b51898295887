"""Quantizers and TFMOT quantize configurations for any Keras model."""
