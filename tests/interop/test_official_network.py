"""A network of the official release: the same weights, the same codes, the same logits.

The vectors were recorded from the release: a network of width 0.25 with ten classes and random
weights, four random subnets with batch statistics, and with statistics of three other batches.
"""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from qfa_tf.interop import decode_gene, load_official, read_state
from qfa_tf.layers import Mode
from qfa_tf.supernet.forward import ForwardPass

VECTORS = pathlib.Path(__file__).parents[1] / "data" / "official_network_vectors.npz"
GENES = range(4)

pytestmark = pytest.mark.xdist_group("official")


@pytest.fixture(scope="module")
def vectors():
    return np.load(VECTORS)


@pytest.fixture(scope="module")
def net(vectors):
    return load_official(read_state(VECTORS), 0.25, 10, resolutions=(64,))


def blocks_of(net, architecture):
    """Name of each active block in this package and in the vectors."""
    blocks_per_stage = 4
    for stage, blocks in enumerate(architecture.stages):
        for block in range(len(blocks)):
            index = 1 + (stage - 1) * blocks_per_stage + block if stage else 0
            yield f"s{stage}.b{block}", f"block{index:02d}"


@pytest.mark.parametrize("gene", GENES)
def test_every_block(net, vectors, gene):
    architecture = decode_gene(vectors["net/genes"][gene], net.space)
    forward = ForwardPass(net, Mode.TRAIN, net.as_genome(architecture))
    recorded, before = f"net/train_blocks/{gene}", "first_conv"
    for name, official_name in blocks_of(net, architecture):
        y = forward.run_slot(name, tf.constant(vectors[f"{recorded}/{before}"]))
        close = np.abs(y - vectors[f"{recorded}/{official_name}"]) <= 1e-4
        assert np.mean(close) >= 0.999, name
        before = official_name


def test_logits(net, vectors):
    """Equal in a millionth, or not at all: one code that rounds the other way changes all."""
    images = tf.constant(vectors["net/x"])
    batches = [tf.constant(batch) for batch in vectors["net/calibration"]]
    equal = {"train": 0, "eval": 0}
    for gene in GENES:
        architecture = decode_gene(vectors["net/genes"][gene], net.space)
        calibration = net.calibrate(batches, architecture)
        found = {
            "train": net(images, genome=architecture, training=True),
            "eval": net(images, genome=architecture, calibration=calibration),
        }
        for mode, logits in found.items():
            difference = np.abs(logits - vectors[f"net/{mode}_logits/{gene}"]).max()
            assert difference <= 1e-6 or difference > 1e-3
            equal[mode] += difference <= 1e-6
    assert equal["train"] >= 3
    assert equal["eval"] >= 3
