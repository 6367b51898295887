"""Imports a supernet of the official release; see qfa_tf/programs/import_checkpoint.py."""

from qfa_tf.programs import import_checkpoint

if __name__ == "__main__":
    import_checkpoint.run()
