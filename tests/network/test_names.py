"""A name is a name: with all names drawn at random, everything is as before."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf import QFASupernet
from qfa_tf.cost import CostModel, LatencyTable, operators
from qfa_tf.latency.subnet_graph import subnet_graph
from qfa_tf.network import from_json, to_json
from qfa_tf.network.families import Described
from qfa_tf.search.diagram import draw
from qfa_tf.space import SearchSpace
from quantize_configs.keras_backend import keras
from tflite_tools.flatbuffer.emitter import emit

PRESETS = ("digits_tiny", "fashion_mnist", "mobilenet_v2_tiny", "resnet_tiny")
WORDS = ("type", "role", "kind", "activation", "padding", "reduction", "row", "label")
"""Keys of a description whose strings are words of this package, and no names."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def with_random_names(network, rng):
    """The same network; new names are as long as the old ones, which counts in a file."""
    fields = json.loads(to_json(network))
    things = [thing for kind in ("nodes", "slots", "choices") for thing in fields[kind]]
    names = {}
    for name in dict.fromkeys(thing["name"] for thing in things):
        while names.get(name) is None or list(names.values()).count(names[name]) > 1:
            names[name] = "".join(rng.choice(list(LETTERS), len(name)))

    def renamed(value, key=""):
        if isinstance(value, dict):
            return {k: renamed(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [renamed(v, key) for v in value]
        return names.get(value, value) if isinstance(value, str) and key not in WORDS else value

    return from_json(json.dumps(renamed(fields)))


@pytest.fixture(scope="module", params=PRESETS)
def pair(request):
    """A space, and the same one with other names; neither is of a family that knows names."""
    network = SearchSpace.from_preset(request.param).network
    other = with_random_names(network, np.random.default_rng(0))
    return [SearchSpace(Described.of("same", one)) for one in (network, other)]


def test_genomes_and_costs(pair):
    first, second = pair
    assert first.size() == second.size()
    genomes = first.sample_genomes(np.random.default_rng(0), 100)
    np.testing.assert_array_equal(genomes, second.sample_genomes(np.random.default_rng(0), 100))
    np.testing.assert_array_equal(first.canonicalize(genomes), second.canonicalize(genomes))
    costs = []
    for space in pair:
        keys = operators(space, space.restrict())
        times = np.random.default_rng(0).random(len(keys))
        table = LatencyTable("t", "", {}, "", dict(zip(keys, times, strict=True)))
        cost = CostModel(space, latency_tables={"t": table})
        costs.append(cost.evaluate(genomes, ["tflite_bytes", "latency_ms@t"]))
        rows = cost.per_site(space.decode(genomes[0]))
        assert draw(space, space.decode(genomes[0]), rows)
    for metric, values in costs[0].items():
        np.testing.assert_array_equal(values, costs[1][metric], err_msg=metric)


@pytest.mark.usefixtures("eager_functions")
def test_supernets_and_files(pair):
    images = tf.random.stateless_uniform([4, 32, 32, pair[0].input_channels], [0, 1])
    genome = pair[0].sample_genomes(np.random.default_rng(3), 1)[0]
    found = []
    for space in pair:
        keras.utils.set_random_seed(0)
        net = QFASupernet(space)
        arch = space.decode(genome)
        calibration = net.calibrate([images], arch)
        model = net.extract(arch, calibration)
        layers = tflite_tools.inspect(tflite_tools.convert(model), delegation=False).layers
        made = tflite_tools.inspect(emit(subnet_graph(space, arch)), delegation=False).layers
        found.append(
            {
                "trained": net(images, genome=genome, training=True).numpy(),
                "frozen": net(images, genome=genome, calibration=calibration).numpy(),
                "statistics": calibration.statistics,
                "extracted": model(tf.image.resize(images, [arch.resolution] * 2)).numpy(),
                "exported": [(one.operator, one.output_shape, one.weight_type) for one in layers],
                "made": [(one.operator, one.output_shape, one.weight_type) for one in made],
            }
        )
    for what, value in found[0].items():
        if isinstance(value, list):
            assert value == found[1][what]
        else:
            np.testing.assert_allclose(value, found[1][what], rtol=1e-5, atol=1e-5, err_msg=what)
