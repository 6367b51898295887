"""Measures models on this computer or a phone; see qfa_tf/programs/benchmark.py."""

from qfa_tf.programs import benchmark

if __name__ == "__main__":
    benchmark.run()
