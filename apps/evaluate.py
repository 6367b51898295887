"""Evaluates one subnet of a trained supernet; see qfa_tf/programs/evaluate.py."""

from qfa_tf.programs import evaluate

if __name__ == "__main__":
    evaluate.run()
