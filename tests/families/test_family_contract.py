"""What every family of networks fulfils: training, export, costs, files, latency and search."""

import collections
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf import QFASupernet, QFATraining, TrainingStage
from qfa_tf.cost import CostModel, LatencyTable, operators
from qfa_tf.cost.latency_table import occurrences
from qfa_tf.latency.operator_models import measured_as, operator_model
from qfa_tf.latency.subnet_graph import subnet_graph
from qfa_tf.layers.execution import resize
from qfa_tf.network import from_json, to_json
from qfa_tf.search import Evaluation, ExactNSGA2, search
from qfa_tf.search.diagram import draw
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.keras_backend import keras
from quantize_configs.wrappers import WrappedModel
from tflite_tools.flatbuffer import runtime
from tflite_tools.flatbuffer.emitter import emit


def with_squeeze_excite():
    """The first and the last stage of a preset, of which a shorter one serves as well."""
    whole = SearchSpace.from_preset("fashion_mnist")
    first, _, last = whole.stages
    return whole.replace(
        name="squeeze_excite", stages=(first, dataclasses.replace(last, depths=(1, 2)))
    )


SPACES = {
    "mobilenet_v2": lambda: SearchSpace.from_preset("mobilenet_v2_tiny"),
    "mobilenet_v3": lambda: SearchSpace.from_preset("digits_tiny"),
    "mobilenet_v3 with squeeze-excite": with_squeeze_excite,
    "resnet": lambda: SearchSpace.from_preset("resnet_tiny"),
    "resnet with bottlenecks": lambda: SearchSpace.from_preset("resnet_bottleneck_tiny"),
}
"""A small space of every family, and of every kind of block it has."""
SUBNETS = ("smallest", "largest", 0, 1, 2)
KERNEL_SETS = 3


@pytest.fixture(scope="module", params=SPACES.values(), ids=SPACES)
def space(request):
    return request.param()


@pytest.fixture(scope="module")
def images(space):
    size = space.resolutions[-1]
    return np.random.default_rng(0).random((16, size, size, space.input_channels), np.float32)


@pytest.fixture(scope="module")
def net(space, images):
    """A supernet after two steps of training."""
    keras.utils.set_random_seed(0)
    net = QFASupernet(space)
    bits = tuple(sorted({*space.weight_bits, *space.activation_bits}))
    training = QFATraining(stages=(TrainingStage(bits),), random_subnets=1)
    net.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9), training=training)
    labels = np.arange(16) % space.num_classes
    before = [weight.numpy() for weight in net.trainable_weights]
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    history = net.fit(dataset, epochs=1, verbose=0).history
    net.loss_of_training = history["largest_loss"][-1]
    net.moved = [
        np.any(old != weight.numpy())
        for old, weight in zip(before, net.trainable_weights, strict=True)
    ]
    return net


def architecture(space, which):
    if isinstance(which, str):
        return getattr(space, which)()
    return space.sample(np.random.default_rng(which))


def test_a_step_trains(net):
    assert np.isfinite(net.loss_of_training)
    kernels = [
        moved
        for moved, weight in zip(net.moved, net.trainable_weights, strict=True)
        if weight.name.split(":")[0].endswith("kernel")
    ]
    assert kernels
    assert all(kernels)
    assert set(net.trace_counts().values()) <= {0, 1}


@pytest.mark.parametrize("which", SUBNETS)
def test_subnets_are_deployed_exactly(which, space, net, images):
    arch = architecture(space, which)
    calibration = net.calibrate([images], arch)
    subnet = net.extract(arch, calibration)
    flatbuffer = tflite_tools.convert(subnet, input_type="uint8", pixel_range=(0.0, 1.0))
    inputs = resize(tf.constant(images[:4]), arch.resolution).numpy()
    report = tflite_tools.verify(flatbuffer, subnet, inputs)
    assert report.mismatches == 0, str(report)
    assert len(report.integers.kernel_sets) >= KERNEL_SETS
    xnnpack = report.integers.kernel_sets[0]
    assert xnnpack.fully_delegated, xnnpack.fallbacks
    made = emit(subnet_graph(space, arch))
    assert signature(made) == signature(flatbuffer)
    counts = count(subnet)
    rows = CostModel(space).evaluate(space.encode(arch)[None])
    assert (rows["macs"][0], rows["params"][0]) == counts
    per_site = CostModel(space).per_site(arch)
    assert sum(row.macs for row in per_site) == counts[0]
    assert draw(space, arch, per_site).count("<title>") == len(per_site)


def signature(flatbuffer):
    """How many operators of each kind and shape there are.

    A tensor with two readers has its scale from the first one. The trained values decide whether
    the way to the other is one QUANTIZE or goes through float: counted as one QUANTIZE either way.
    """
    found = collections.Counter(
        (item.operator, item.input_type, item.output_type, item.output_shape, item.weight_type)
        for item in tflite_tools.inspect(flatbuffer, delegation=False).layers
    )
    for kind in list(found):
        operator, _, _, shape, _ = kind
        back = ("QUANTIZE", "FLOAT32", "INT8", shape, kind[-1])
        if operator == "DEQUANTIZE" and kind[1] == "INT8" and back in found:
            both = min(found[kind], found[back])
            found[kind] -= both
            found[back] -= both
            found["QUANTIZE", "INT8", "INT8", shape, kind[-1]] += both
    return +found


def count(model):
    """(multiply-accumulates, parameters with a bias per channel) of the linear layers."""
    wrapped = WrappedModel(model)
    macs = parameters = 0
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    for call in wrapped.graph.calls:
        layer = getattr(call.layer, "layer", call.layer)
        if not isinstance(layer, kinds):
            continue
        shape = tuple(call.layer.output_shape)
        weights = int(np.prod(wrapped.weight(call.name).shape))
        channels = shape[-1]
        macs += weights * int(np.prod(shape[1:-1]))
        parameters += weights + channels
    return macs, parameters


def test_files(space):
    assert SearchSpace.from_json(space.to_json()) == space
    assert from_json(to_json(space.network)) == space.network
    genomes = space.sample_genomes(np.random.default_rng(0), 50)
    space.validate(genomes)
    for genome in genomes:
        arch = space.decode(genome)
        np.testing.assert_array_equal(space.encode(arch), genome)
        assert Architecture.from_json(arch.to_json()) == arch


def test_canonical_genomes_are_the_subnets(space):
    """Genomes of the same subnet are canonically equal, and others are not."""
    rng = np.random.default_rng(1)
    raw = np.stack([rng.choice(gene.choices, 200) for gene in space.genes], 1).astype(np.int32)
    canonical = space.canonicalize(raw)
    texts = {space.decode(genome).to_json() for genome in raw}
    assert len(texts) == len(np.unique(canonical, axis=0))


@pytest.fixture(scope="module")
def table(space):
    keys = operators(space, space.restrict())
    times = np.random.default_rng(0).random(len(keys)) + 0.1
    return LatencyTable("t", "d", {}, "2026-01-01", dict(zip(keys, times, strict=True)))


def test_latency_operators_run(space):
    """One model for each kind of operator; XNNPACK takes all of it."""
    seen = set()
    for key, (node, setting) in occurrences(space, space.restrict()).items():
        same = measured_as(key, space.network, node)
        kind = (same.operator, same.weight_bits, same.activation_bits, same.stride)
        if kind in seen:
            continue
        seen.add(kind)
        model, _ = operator_model(same, space.network, node, setting)
        interpreter = runtime.load(model)
        interpreter.allocate_tensors()
        records, partitions = runtime.describe(interpreter)
        assert partitions == 1
        assert all(record.delegated for record in records)


def test_latencies_are_sums_and_bounds_hold(space, table):
    cost = CostModel(space, latency_tables={"t": table})
    genomes = space.sample_genomes(np.random.default_rng(0), 300)
    metrics = ("tflite_bytes", "latency_ms@t")
    found = cost.evaluate(genomes, metrics)
    for metric in (*metrics, "macs", "weight_bytes"):
        low, high = cost.bounds(metric, space.restrict())
        assert low <= found[metric].min() <= found[metric].max() <= high
    ends = space.canonicalize(
        np.array([[gene.choices[end] for gene in space.genes] for end in (0, -1)], np.int32)
    )
    at_ends = cost.evaluate(ends)["macs"]
    assert tuple(at_ends) == cost.bounds("macs", space.restrict())


class Planted:
    """Accuracy as a function of the genome, without a network."""

    checkpoint_key, calibration_key, split = "planted", "planted", "search_validation"
    calibration_images, images = 0, 1

    def evaluate(self, genomes, *, images=None, to_beat=None):
        return [Evaluation(float(genome.sum() % 97) / 97, 1.0, 1) for genome in genomes]


def test_search_keeps_a_latency(space, table):
    cost = CostModel(space, latency_tables={"t": table})
    low, high = cost.bounds("latency_ms@t", space.restrict())
    most = (low + high) / 2
    result = search(
        space,
        cost,
        Planted(),
        strategy=ExactNSGA2(population=8, generations=3),
        constraints=f"latency_ms@t<={most}",
        seed=0,
    )
    assert result.front
    assert all(candidate.costs["latency_ms@t"] <= most for candidate in result.front)
