"""The families of networks by name."""

from qfa_tf.network.families.described import Described
from qfa_tf.network.families.family import Family
from qfa_tf.network.families.keras_model import KerasModel
from qfa_tf.network.families.mobilenet_v2 import MobileNetV2
from qfa_tf.network.families.mobilenet_v3 import MobileNetV3
from qfa_tf.network.families.resnet import ResNet

_ALL: tuple[type[Family], ...] = (MobileNetV2, MobileNetV3, ResNet, Described, KerasModel)
FAMILIES = {family.FAMILY: family for family in _ALL}
DEFAULT = MobileNetV3.FAMILY
"""What a file without the name of a family holds."""
