"""Searches a trained supernet under a budget; see qfa_tf/programs/search.py."""

from qfa_tf.programs import search

if __name__ == "__main__":
    search.run()
