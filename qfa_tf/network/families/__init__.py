"""Families of networks: each file turns settings into the description of a network."""

from qfa_tf.network.families.family import Family
from qfa_tf.network.families.mobilenet_v3 import MobileNetV3
from qfa_tf.network.families.parts import Head, Stage, Stem
from qfa_tf.network.families.registry import DEFAULT, FAMILIES

__all__ = ["DEFAULT", "FAMILIES", "Family", "Head", "MobileNetV3", "Stage", "Stem"]
