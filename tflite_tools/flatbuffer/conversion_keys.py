"""Keys of the metadata that `convert` writes."""

OPTIONS_KEY = "conversion"
BITS_KEY = "bits"
LABELS_KEY = "labels"
