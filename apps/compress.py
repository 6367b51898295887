"""Compresses a trained Keras model to a budget; see qfa_tf/programs/compress.py."""

from qfa_tf.programs import compress

if __name__ == "__main__":
    compress.run()
