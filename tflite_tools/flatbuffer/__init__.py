"""From an integer graph to the bytes of a .tflite, and back to a reader."""
