"""Networks of other shapes: branches, concatenations, free slots; described node by node."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tflite_tools
from qfa_tf import QFASupernet
from qfa_tf.cost import CostModel
from qfa_tf.layers import Mode
from qfa_tf.network import (
    Chosen,
    Concatenation,
    Constant,
    Function,
    GlobalPooling,
    InvalidSpaceError,
    Pooling,
    Product,
    Sum,
    from_json,
    subnet,
    to_json,
)
from qfa_tf.network.building import IMAGE, NetworkBuilder
from qfa_tf.network.families import Described
from qfa_tf.space import Architecture, SearchSpace
from quantize_configs.keras_backend import keras

EIGHT = {"stem": (8, 8), "classifier": (8, 8)}


def builder(**fixed_bits):
    return NetworkBuilder((8, 12), 1, (2, 4, 8), (4, 8), {**EIGHT, **fixed_bits})


def classified(build, x):
    x = build.node(GlobalPooling, "pool", x)
    options = {"normalization": False, "bias": True}
    return build.build(build.site("classifier", x, "dense", Constant(5), **options))


def width(build, name, values):
    return Chosen(build.choice(f"{name}.width", values, "width"))


def branches():
    """An Inception block: branches of elastic widths side by side; who reads them slices each."""
    build = builder()
    x = build.site("stem", IMAGE, "convolution", Constant(8), kernel_size=3, activation="relu")
    options = {"activation": "relu"}
    first = build.site("first", x, "pointwise", width(build, "first", (4, 8)), **options)
    y = build.site("before", x, "pointwise", width(build, "before", (3, 6)), **options)
    options |= {"kernel_size": 3}
    second = build.site("second", y, "convolution", width(build, "second", (4, 12)), **options)
    pooled = build.node(Pooling, "pooled", x, reduction="max", window=3, stride=1)
    joined = build.node(Concatenation, "joined", first, second, pooled)
    y = build.site("depthwise", joined, "depthwise", kernel_size=3, stride=2, activation="relu")
    y = build.site("mixed", y, "pointwise", Constant(12), activation="relu6")
    z = build.site("wide", joined, "convolution", Constant(12), kernel_size=3, stride=2)
    return classified(build, build.node(Sum, "total", y, z))


def dense_connections():
    """DenseNet: every layer reads all before it."""
    build = builder()
    x = build.site("stem", IMAGE, "convolution", Constant(6), kernel_size=3, activation="relu")
    for i in range(3):
        growth = width(build, f"grow{i}", (2, 4))
        y = build.site(f"grow{i}", x, "convolution", growth, kernel_size=3, activation="relu")
        x = build.node(Concatenation, f"joined{i}", x, y)
    return classified(build, x)


def free_slots():
    """Residual branches that are left out one by one, in any combination; gated by a product."""
    build = builder()
    x = build.site("stem", IMAGE, "convolution", Constant(8), kernel_size=3, activation="relu")
    for name in ("early", "middle", "late"):
        depth = build.choice(f"{name}.kept", (0, 1), "depth")
        build.begin_slot(name)
        options = {"kernel_size": 3, "activation": "relu"}
        y = build.site("square", x, "convolution", width(build, name, (4, 8)), **options)
        y = build.site("back", y, "pointwise", Constant(8))
        y = build.node(Function, "function", build.node(Sum, "sum", y, x), activation="relu")
        x = build.end_slot(depth, 0, x, y)
    y = build.site("gate", x, "pointwise", Constant(8), activation="relu6")
    return classified(build, build.node(Product, "gated", x, y))


NETWORKS = {network.__name__: network for network in (branches, dense_connections, free_slots)}


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def space(request):
    return SearchSpace(Described.of(request.param.__name__, request.param()))


@pytest.fixture(scope="module")
def net(space):
    keras.utils.set_random_seed(0)
    net = QFASupernet(space)
    rng = np.random.default_rng(0)
    for weight in net.trainable_weights:
        noise = rng.normal(size=weight.shape, scale=0.1).astype(np.float32)
        weight.assign(weight.numpy() + noise)
    net.reset_steps()
    return net


def test_size_is_the_number_of_subnets(space):
    """Bits apart, which are independent of each other."""
    genomes = space.sample_genomes(np.random.default_rng(0), 2000)
    shapes = [gene.column for gene in space.genes if not gene.is_bits]
    expected = {"branches": 2 * 2**3, "dense_connections": 2 * 2**3, "free_slots": 2 * 3**3}
    assert len(np.unique(genomes[:, shapes], axis=0)) == expected[space.name]
    pairs = {None: 1, "early": 1, "middle": 1, "late": 1}
    for gene in space.genes:
        pairs[gene.slot] *= len(gene.choices) if gene.is_bits else 1
    if space.name == "free_slots":
        per_slot = [1 + 2 * pairs[slot] for slot in ("early", "middle", "late")]
        assert space.size() == 2 * pairs[None] * np.prod(per_slot, dtype=object)
    else:
        assert space.size() == expected[space.name] * pairs[None]


def test_files_and_genomes(space):
    assert from_json(to_json(space.network)) == space.network
    again = SearchSpace.from_json(space.to_json())
    assert again == space
    assert again.fingerprint == space.fingerprint
    for genome in space.sample_genomes(np.random.default_rng(0), 30):
        arch = space.decode(genome)
        np.testing.assert_array_equal(space.encode(arch), genome)
        assert Architecture.from_json(arch.to_json()) == arch
        assert all(site in arch.describe() or "." in site for site in arch.site_bits)


@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize("seed", range(3))
def test_extracted_subnets_compute_what_the_supernet_does(seed, space, net):
    arch = space.sample(seed)
    images = tf.random.stateless_uniform([6, 12, 12, 1], [seed, 1])
    calibration = net.calibrate([images], arch)
    inside = net(images, genome=arch, calibration=calibration).numpy()
    model = net.extract(arch, calibration, deployment_grids=False)
    outside = model(tf.image.resize(images, [arch.resolution] * 2)).numpy()
    close = np.abs(inside - outside) <= 1e-3 * np.abs(inside).max()
    assert close.mean() >= 0.9  # a code that rounds the other way changes an image


@pytest.mark.usefixtures("eager_functions")
@pytest.mark.parametrize("seed", range(2))
def test_subnets_are_deployed_exactly(seed, space, net):
    arch = space.sample(seed)
    images = np.random.default_rng(seed).random((6, 12, 12, 1), np.float32)
    model = net.extract(arch, net.calibrate([images], arch))
    flatbuffer = tflite_tools.convert(model)
    inputs = tf.image.resize(images, [arch.resolution] * 2).numpy()
    report = tflite_tools.verify(flatbuffer, model, inputs)
    assert report.mismatches == 0, str(report)


def test_gradients_reach_every_site(space, net):
    """In the graph of all subnets, which computes what running without one does."""
    genome = net.as_genome(space.largest())
    images = tf.random.stateless_uniform([6, 12, 12, 1], [3, 1])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net(images, genome=genome, training=True) ** 2)
    kernels = [net.site_layer(site.name).kernel for site in space.sites]
    for kernel, gradient in zip(kernels, tape.gradient(loss, kernels), strict=True):
        assert np.any(gradient), kernel.name
    for seed in range(3):
        other = net.as_genome(space.sample(seed))
        alone, _ = net.run_subnet(Mode.TRAIN, images, other)
        close = np.isclose(net(images, genome=other, training=True), alone, rtol=1e-3, atol=1e-3)
        assert close.mean() >= 0.9  # a code that rounds the other way changes an image


def test_costs_follow_the_slots(space):
    cost = CostModel(space)
    genomes = space.sample_genomes(np.random.default_rng(0), 60)
    found = cost.evaluate(genomes, ["tflite_bytes"])
    low, high = cost.bounds("tflite_bytes", space.restrict())
    assert low <= found["tflite_bytes"].min() <= found["tflite_bytes"].max() <= high
    for i, genome in enumerate(genomes):
        rows = cost.per_site(space.decode(genome))
        assert sum(row.macs for row in rows) == found["macs"][i]
        assert sum(row.params for row in rows) == found["params"][i]


def test_slots_that_are_left_out_lead_past_themselves():
    network = free_slots()
    values = {choice.name: choice.values[-1] for choice in network.choices}
    values |= {"early.kept": 0, "middle.kept": 0}
    parts = {part.node.name: part for part in subnet(network, values).nodes}
    assert parts["late.square"].inputs == ("stem",)
    assert "middle.square" not in parts
    values["late.kept"] = 0
    parts = {part.node.name: part for part in subnet(network, values).nodes}
    assert parts["gated"].inputs == ("stem", "gate")


def changed(network, **changes):
    """The description with some fields of one node, slot or choice changed."""
    fields = json.loads(to_json(network))
    for path, value in changes.items():
        kind, name, field = path.split("__")
        (one,) = [entry for entry in fields[kind] if entry["name"] == name]
        one[field] = value
    return json.dumps(fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes__gate__inputs": ["nowhere"]}, "'gate' reads 'nowhere', which is no node before"),
        ({"nodes__gate__kind": "transposed"}, "kind of 'gate' must be one of.*'transposed'"),
        ({"nodes__gate__activation": "gelu"}, "activation of 'gate' must be one of.*'gelu'"),
        ({"nodes__gate__weight_bits": "gate.bits"}, "needs a choice 'gate.bits'"),
        ({"nodes__gate__inputs": ["late.square"]}, "left by 'late.function' alone.*'gate'"),
        ({"nodes__late.function__slot": None}, "entered by .* alone|side by side|no nodes"),
        ({"nodes__gated__inputs": ["late.function"]}, "Product reads several nodes"),
        ({"nodes__gate__name": "stem"}, r"names of their own. Twice: \['stem'\]"),
        ({"nodes__late.back__width": {"type": "Constant", "channels": 9}}, "tensors of one shape"),
        ({"choices__late.width__values": [8, 4]}, "distinct and ascending"),
        ({"choices__late.width__role": "breadth"}, "role of choice 'late.width' must be one of"),
        ({"choices__late.width__slot": "early"}, "void without the slot 'early'"),
        ({"slots__late__position": 1}, "depth that can exceed its position 1"),
        ({"nodes__gate__type": "Deconvolution"}, "must be one of.*'Deconvolution'"),
        ({"nodes__gate__colour": 3}, "Convolution cannot be read"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(InvalidSpaceError, match=message):
        from_json(changed(free_slots(), **changes))


def test_what_cannot_slice_a_concatenation_is_refused():
    build = builder()
    x = build.site("stem", IMAGE, "convolution", Constant(8), kernel_size=3)
    y = build.site("narrow", x, "pointwise", width(build, "narrow", (4, 8)))
    joined = build.node(Concatenation, "joined", y, x)
    kernel = build.choice("depthwise.kernel_size", (3, 5), "kernel_size")
    y = build.site("depthwise", joined, "depthwise", kernel_size=kernel)
    with pytest.raises(InvalidSpaceError, match="'depthwise' reads a concatenation"):
        classified(build, y)
