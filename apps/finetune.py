"""Trains a chosen subnet further, alone; see qfa_tf/programs/finetune.py."""

from qfa_tf.programs import finetune

if __name__ == "__main__":
    finetune.run()
