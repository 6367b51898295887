"""Exports a subnet as a verified .tflite file; see qfa_tf/programs/export.py."""

from qfa_tf.programs import export

if __name__ == "__main__":
    export.run()
