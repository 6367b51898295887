"""Keys of the metadata that `convert` writes."""

OPTIONS_KEY = "conversion"
BITS_KEY = "bits"
LABELS_KEY = "labels"
PIXELS_KEY = "pixels"
"""By input, (scale, offset) of the bytes of an image as the Keras model takes them."""
