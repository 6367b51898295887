"""Families of networks: each file turns settings into the description of a network."""

from qfa_tf.network.families.described import Described
from qfa_tf.network.families.family import Family
from qfa_tf.network.families.keras_model import KerasModel
from qfa_tf.network.families.mobilenet_v2 import MobileNetV2
from qfa_tf.network.families.mobilenet_v3 import MobileNetV3
from qfa_tf.network.families.parts import Head, Stage, Stem
from qfa_tf.network.families.registry import DEFAULT, FAMILIES
from qfa_tf.network.families.resnet import ResNet

__all__ = [
    "DEFAULT",
    "FAMILIES",
    "Described",
    "Family",
    "Head",
    "KerasModel",
    "MobileNetV2",
    "MobileNetV3",
    "ResNet",
    "Stage",
    "Stem",
]
