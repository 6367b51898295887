"""How the kernel sets of LiteRT round, for Keras models that compute as a device will."""
