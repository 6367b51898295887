"""Search spaces, their genomes and their architectures; NumPy only."""

from qfa_tf.network import BITS, FLOAT_BITS, make_divisible
from qfa_tf.network.families import Head, Stage, Stem
from qfa_tf.space.architecture import Architecture, Block
from qfa_tf.space.errors import ArchitectureError, GenomeError, InvalidSpaceError
from qfa_tf.space.genes import Fixed, Gene, Site
from qfa_tf.space.space import SearchSpace

__all__ = [
    "BITS",
    "FLOAT_BITS",
    "Architecture",
    "ArchitectureError",
    "Block",
    "Fixed",
    "Gene",
    "GenomeError",
    "Head",
    "InvalidSpaceError",
    "SearchSpace",
    "Site",
    "Stage",
    "Stem",
    "make_divisible",
]
