"""Runtimes that open a .tflite file, each with a name, and one file on all of them."""
