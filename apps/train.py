"""Trains a quantized supernet; see qfa_tf/programs/train.py."""

from qfa_tf.programs import train

if __name__ == "__main__":
    train.run()
